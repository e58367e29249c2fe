"""A package, so that its files can share the imitated Triton."""
