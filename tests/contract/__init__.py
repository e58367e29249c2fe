"""What a stored run holds the code to."""
