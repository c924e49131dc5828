"""What the rows of a run look like beside those of earlier runs: profile, drift, leakage."""
