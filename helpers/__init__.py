"""The package behind the notebooks: from a profile to a run, from a run to its evidence."""
