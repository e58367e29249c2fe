"""What a stranger reads: verdicts, figures, results and pages, drawn from a run's folder alone."""
