"""How state reaches the disk: digests, JSON files, locks, atomic publishing.

Everything is written to a temporary name beside its place, synced, and renamed. What the files
mean is decided by the packages that write them; where they lie, by `pipeline_lib.home`.
"""
