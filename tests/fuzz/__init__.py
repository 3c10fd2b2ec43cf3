"""Mutated files and made-up texts: whatever comes, no traceback, no hang, no mountain of memory."""
