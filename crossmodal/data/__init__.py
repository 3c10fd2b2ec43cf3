"""Caption files in, (picture, captions) out."""
