"""Caption files in, (photo, captions) out."""
