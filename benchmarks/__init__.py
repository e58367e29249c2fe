"""Measures this project against its peers and its limits: `python -m benchmarks`."""
