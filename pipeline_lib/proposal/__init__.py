"""A config for a table that has none."""
