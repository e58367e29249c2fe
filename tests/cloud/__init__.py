"""A package, so that its files can share the small stack."""
