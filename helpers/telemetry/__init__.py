"""What the machines say: Prometheus, host and GPU samplers, series of a run."""
