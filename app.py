"""The page: type a sentence and see photos, drop a photo and read captions.

streamlit run app.py
streamlit run app.py -- --checkpoints DIR --images DIR
streamlit run app.py -- --photos DIR [--index DIR]
streamlit run app.py --server.address 0.0.0.0 -- --below DIR
streamlit run app.py -- --milvus URL --collection NAME [--photos DIR]
"""

from pathlib import Path

import streamlit as st

from crossmodal.page.page import page, say_error, warm_up
from crossmodal.page.photo_files import ROUTES

# Streamlit imports this file once to start the server, and then runs it for every change in a session.
if st.runtime.exists():
    page()
else:
    warm_up()
    app = st.App(Path(__file__).resolve(), routes=ROUTES, on_script_error=say_error)
