"""Encoding a collection: devices, decoding ahead, embeddings on disk, cached features, the runtimes of the towers."""
