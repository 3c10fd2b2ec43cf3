"""teach: give a name to what a few photos show, and search for it by that name."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmodal.commands.galleries import add_weights_option
from crossmodal.errors import CrossmodalError, printable

if TYPE_CHECKING:
    from crossmodal.search.word_file import WordFile


def add_teach_command(commands: Any) -> None:
    """Add `teach`."""
    teach = commands.add_parser(
        "teach", help="give a name to what a few photos show; queries may name it from then on: Rex on the beach"
    )
    teach.add_argument("name", nargs="?", help="the word, in any case")
    teach.add_argument(
        "examples", nargs="*", metavar="PHOTO", help="photos that show it: files, or paths from the folder of photos"
    )
    teach.add_argument("--photos", type=Path, required=True, metavar="DIR", help="the indexed folder that is taught")
    teach.add_argument("--index", type=Path, metavar="DIR", help="where its index lies, if not in the folder")
    add_weights_option(teach)
    teach.add_argument("--kind", help="what it is, in words that anybody knows (default: guessed, and said)")
    teach.add_argument(
        "--not",
        dest="negatives",
        nargs="+",
        default=[],
        metavar="PHOTO",
        help="photos that do not show it, though it seems so",
    )
    instead = teach.add_mutually_exclusive_group()
    instead.add_argument("--list", action="store_true", help="list the words")
    instead.add_argument("--rename", metavar="NEW", help="give the word another name")
    instead.add_argument("--forget", action="store_true", help="forget the word")
    instead.add_argument(
        "--export", type=Path, metavar="FILE", help="write the word, or all without a name, into a file"
    )
    instead.add_argument(
        "--import", dest="source", type=Path, metavar="FILE", help="take over the words of such a file"
    )
    teach.set_defaults(run=_teach)


def _teach(options: argparse.Namespace) -> None:
    from crossmodal.galleries import Place, open_search
    from crossmodal.search.teaching import teach

    _check(options)
    search = open_search(Place(options.photos, options.index, weights=options.weights))
    try:
        file, fingerprint = search.taught, search.gallery.about.fingerprint
        if options.list:
            _list(file, fingerprint)
        elif options.rename:
            print(f"{options.name} is {file.rename(options.name, options.rename).name} from now on.")
        elif options.forget:
            file.forget(options.name)
            print(f"Forgot {options.name}.")
        elif options.export:
            _export(file, options)
        elif options.source:
            _import(file, options.source, fingerprint)
        else:
            word = teach(search, options.name, options.examples, options.negatives, options.kind)
            guessed = "" if options.kind else " (--kind says otherwise)"
            asked = ["python", "-m", "crossmodal", "search", word.name, "--photos", str(options.photos)]
            asked += ["--index", str(options.index)] if options.index else []
            print(f"{word.summary}{guessed}. Search for it: {shlex.join(asked)}")
    finally:
        search.close()


def _check(options: argparse.Namespace) -> None:
    """Raise CrossmodalError for arguments that do not go together."""
    alone = options.list or options.source
    manages = alone or options.rename or options.forget or options.export
    if manages and (options.examples or options.negatives or options.kind):
        raise CrossmodalError(
            "Photos and a kind are for teaching a word; leave them out, or leave out the other option."
        )
    if alone and options.name:
        raise CrossmodalError("--list and --import are of all words; leave out the name.")
    if not options.name and not (alone or options.export):
        raise CrossmodalError(
            'Name the word. For example: python -m crossmodal teach "Rex" 1.jpg 2.jpg 3.jpg --photos DIR'
        )


def _list(file: "WordFile", fingerprint: str) -> None:
    words = file.entries().values()
    for word in words:
        print(
            printable(word.summary)
            + ("" if word.fingerprint == fingerprint else "; of another model: forget it, and teach it again")
        )
    if not words:
        print("No word was taught yet.")


def _export(file: "WordFile", options: argparse.Namespace) -> None:
    from crossmodal.search.word_file import write_words

    words = [file.entry(options.name)] if options.name else list(file.entries().values())
    if not words:
        raise CrossmodalError("No word was taught yet, so there is nothing to export.")
    write_words(options.export, words)
    print(f"Wrote {', '.join(word.name for word in words)} into {options.export}")


def _import(file: "WordFile", source: Path, fingerprint: str) -> None:
    from crossmodal.search.word_file import read_words

    words = read_words(source)
    if strangers := [word.name for word in words if word.fingerprint != fingerprint]:
        raise CrossmodalError(
            f"{source} has words that were taught to another model than the one of this index ({', '.join(strangers)}); "
            "teach them from their photos."
        )
    file.keep(*words)
    print(f"Took over {', '.join(word.name for word in words) or 'no word'}")
