"""Rows: where they come from, what they must look like, which split they land in."""
