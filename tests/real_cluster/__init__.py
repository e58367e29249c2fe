"""Opt-in: what only a real control plane can show."""
