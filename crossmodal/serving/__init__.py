"""Search behind HTTP: the API, its page, and what keeps both safe."""
