"""Embeddings on disk, and the one search service behind the page and the command line."""
