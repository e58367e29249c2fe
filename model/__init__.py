"""The networks, their weights, their export, and the Triton backend that serves them on a CPU."""
