"""Folders of one's own photos: indexed, kept up to date, and searched. Nothing here needs torch to search."""
