"""What the rows must look like, and what becomes of those that do not."""
