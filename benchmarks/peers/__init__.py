"""Other libraries' training in the benchmark; each file runs in an environment of its own."""
