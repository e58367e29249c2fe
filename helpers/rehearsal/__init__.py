"""Local stand-ins for what a rehearsal has no account or cluster for."""
