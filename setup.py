"""What pyproject.toml cannot say: the scripts of the root and the shipped run are parts of the installed package."""

from setuptools import find_packages, setup

setup(
    script_name="setup.py",  # which is no module of the scripts; pip runs it under another name
    packages=[*find_packages(include=["crossmodal*"]), "crossmodal.scripts", "crossmodal.shipped"],
    package_dir={"crossmodal.scripts": ".", "crossmodal.shipped": "model-checkpoints/shipped"},
    package_data={
        "crossmodal.page": ["*.css", "*.js"],
        "crossmodal.serving": ["*.html"],
        "crossmodal.scripts": [".streamlit/config.toml"],
        "crossmodal.shipped": ["*_epoch_*.pt", "*.json", "*.jsonl"],
    },
    include_package_data=False,  # else all that lies in the root would be data of the scripts
)
