"""train and app: the two scripts of the root, from any folder."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from crossmodal.errors import CrossmodalError
from crossmodal.places import SCRIPTS

EVERYTHING = "\0"  # no argument begins so: what a script is given, options too, is left to it


def add_script_commands(commands: Any) -> None:
    """Add `train` and `app`."""
    train = commands.add_parser(
        "train",
        prefix_chars=EVERYTHING,
        add_help=False,
        help="train on captioned photos, as training_script.py does; train --help",
    )
    train.set_defaults(run=_train)
    app = commands.add_parser(
        "app", prefix_chars=EVERYTHING, add_help=False,
        help="open the page, as app.py is; --photos DIR and the like are the page's, --server.port and the like Streamlit's",
    )  # fmt: skip
    app.set_defaults(run=_app)
    for command in (train, app):
        command.add_argument("arguments", nargs="*")


def _train(options: argparse.Namespace) -> None:
    _become([str(SCRIPTS / "training_script.py"), *options.arguments])


def _app(options: argparse.Namespace) -> None:
    from crossmodal.page.options import KNOWN
    from crossmodal.page.options import options as read

    if {"-h", "--help"}.intersection(options.arguments):
        print(f"Opens the page. {KNOWN}\nStreamlit's options count too: --server.port 8502 (streamlit run --help)")
        return
    if unknown := read(divided(options.arguments)[1]).unknown:
        raise CrossmodalError(unknown)
    become_page(*options.arguments)


def become_page(*arguments: str) -> None:
    """Go on as the page, in the same process; `arguments` are Streamlit's and the page's."""
    streamlits, pages = divided(arguments)
    _become(["-m", "streamlit", "run", str(SCRIPTS / "app.py"), *streamlits, "--", *pages])


def divided(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return Streamlit's arguments and the page's: Streamlit's options have a section and a dot in their names."""
    streamlits: list[str] = []
    pages: list[str] = []
    side = pages
    for argument in arguments:
        if argument.startswith("--"):
            side = streamlits if "." in argument.partition("=")[0] else pages
        side.append(argument)
    return streamlits, pages


def _become(arguments: Sequence[str]) -> None:
    """Go on as Python with these arguments, in the same process, so that signals and exit codes are the script's."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *arguments])
