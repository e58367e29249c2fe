"""Kubernetes: what is rendered, what is checked, what runs in the cluster."""
