"""albums: searches that are kept with an indexed folder, or a gallery in Milvus, under a name, and hold what answers them now."""

import argparse
import shlex
from typing import TYPE_CHECKING, Any

from crossmodal.commands.galleries import COLLECTION, add_gallery_options, opened
from crossmodal.errors import CrossmodalError, printable

if TYPE_CHECKING:
    from crossmodal.search.albums import Album
    from crossmodal.search.search import Search


def add_albums_command(commands: Any) -> None:
    """Add `albums`."""
    albums = commands.add_parser("albums", help="list saved searches, or save one; `search album:NAME` opens it")
    add_gallery_options(albums)
    instead = albums.add_mutually_exclusive_group()
    instead.add_argument(
        "--save",
        nargs=2,
        metavar=("NAME", "QUERY"),
        help="save a query, with filters in its words: 'beach 2023 in:lisbon'",
    )
    instead.add_argument("--rename", nargs=2, metavar=("NAME", "NEW"), help="give an album another name")
    instead.add_argument("--forget", metavar="NAME", help="forget an album; the photos stay")
    albums.set_defaults(run=_albums)


def _albums(options: argparse.Namespace) -> None:
    from crossmodal.search.albums import save_album

    search = opened(options)
    try:
        if options.save:
            album = save_album(search, *options.save)
            opens = shlex.join(["python", "-m", "crossmodal", "search", album.typed, *_gallery(options)])
            print(f"{_line(album, search)}. Open it: {opens}")
        elif options.rename:
            print(f"{options.rename[0]} is {search.albums.rename(*options.rename).name} from now on.")
        elif options.forget is not None:
            search.albums.forget(options.forget)
            print(f"Forgot {options.forget}.")
        else:
            albums = search.albums.entries().values()
            print("\n".join(_line(album, search) for album in albums) or "No search was saved yet.")
    finally:
        search.close()


def _gallery(options: argparse.Namespace) -> list[str]:
    """Return the options that name the gallery again."""
    named = {"photos": None, "index": None, "milvus": None, "collection": COLLECTION}
    given = ((name, getattr(options, name)) for name in named if getattr(options, name) != named[name])
    return [word for name, value in given for word in (f"--{name}", str(value))]


def _line(album: "Album", search: "Search") -> str:
    from crossmodal.photos.summary import counted

    try:
        holds = counted(search.albums.count(album, search), "photo")
    except CrossmodalError as error:
        holds = str(error)
    return printable(f"{album.name}: {album.query} ({holds})")
