"""Embedding a huge collection: the work spread over a cluster by Ray, the result in an index or in Parquet."""
