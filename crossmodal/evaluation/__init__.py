"""Metrics and the evaluation of a checkpoint, by one protocol."""
