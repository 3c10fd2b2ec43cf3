"""Where things lie: all in one folder in a checkout; in an installed package the package, the current folder and the user's cache."""

from pathlib import Path

from crossmodal.files import cache_folder

PACKAGE = Path(__file__).resolve().parent
INSTALLED = (PACKAGE / "scripts").is_dir()  # into which setup.py puts the scripts of the root
SCRIPTS = PACKAGE / "scripts" if INSTALLED else PACKAGE.parent
SHIPPED_RUN = PACKAGE / "shipped" if INSTALLED else PACKAGE.parent / "model-checkpoints" / "shipped"
WORKPLACE = Path.cwd() if INSTALLED else PACKAGE.parent  # of captions, photos and runs, where no other is named
DRAWN = cache_folder() / "drawn-sample" if INSTALLED else PACKAGE.parent / "drawn-sample"
TRAINING = (
    ("crossmodal", "train") if INSTALLED else ("python", "training_script.py")
)  # the commands, as users type them
TRAIN = " ".join(TRAINING)
PAGE = ("crossmodal", "app") if INSTALLED else ("streamlit", "run", "app.py")
