"""Embedding a huge collection on a Ray cluster, into an index or into Parquet files."""
