"""Parts of the page that app.py lays out."""
