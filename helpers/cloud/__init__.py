"""AWS: the account, what stands in it, what it costs, and the proof that nothing is left."""
