"""The rows of one run, immutable and named by their content."""
