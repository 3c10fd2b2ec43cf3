"""The report: one HTML file that shows what a model learned, and where it fails."""
