"""A run's folder, and opening what is in it."""
