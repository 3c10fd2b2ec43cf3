"""The gallery in Milvus: a file, a standalone server or a cluster, by the same client."""
