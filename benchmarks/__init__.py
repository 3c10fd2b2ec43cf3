"""Benchmarks: ratios within one run; each module's first lines say how to run it."""
