"""Where rows come from: files, buckets, queries, tables in memory, as one stream of batches."""
