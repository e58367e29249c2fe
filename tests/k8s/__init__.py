"""Charts, rendered by the real helm: objects, values, releases, and the server they start."""
