"""Beyond one machine: Milvus and Ray, both optional."""
