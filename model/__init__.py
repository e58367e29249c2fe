"""The networks, their weights, their export, and the backend that serves them on a CPU."""
