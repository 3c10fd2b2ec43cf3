"""The page: one search over any gallery, the large view of a photo, what a run learned, and indexing a folder."""
