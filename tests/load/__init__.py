"""Load: what is sent, when, what came back, and what is made of it."""
