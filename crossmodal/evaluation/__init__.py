"""Metrics and the evaluation of a checkpoint, by a fixed protocol."""
