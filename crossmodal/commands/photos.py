"""The commands about one's own photos: index a folder, and search in it."""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from crossmodal.commands.cluster import add_spreading_options, check_spreading, cluster_of, write_parquet
from crossmodal.commands.milvus import add_collection_option, opened_milvus
from crossmodal.errors import CrossmodalError

if TYPE_CHECKING:
    from crossmodal.photos.update import Changes, Step
    from crossmodal.search.search import PhotoHit, PhotoQuery


def add_index_command(commands: Any) -> None:
    """Add `index`."""
    index = commands.add_parser("index", help="make a folder of photos searchable, or bring its index up to date")
    index.add_argument("photos", type=Path, help="folder of photos, with all below it")
    index.add_argument(
        "--index", type=Path, metavar="DIR", help="where the index lies (default: .crossmodal in the folder)"
    )
    index.add_argument("--checkpoint", type=Path, help="model that makes it (default: the newest run's best)")
    index.add_argument(
        "--exclude",
        action="append",
        metavar="PATTERN",
        help="leave out files and folders by name or path; may be repeated",
    )
    index.add_argument("--rebuild", action="store_true", help="throw the old index away first")
    index.add_argument("--verbose", action="store_true", help="list every file and folder that cannot be used")
    add_spreading_options(index)
    index.set_defaults(run=_index)


def add_photo_options(search: argparse.ArgumentParser) -> None:
    """Add to `search` what only photos have."""
    photos = search.add_argument_group("photos (with --photos)")
    photos.add_argument("--photos", type=Path, metavar="DIR", help="search in an indexed folder of photos instead")
    photos.add_argument("--index", type=Path, metavar="DIR", help="where its index lies, if not in the folder")
    photos.add_argument("--milvus", metavar="URL", help="search in a gallery that was loaded into Milvus")
    add_collection_option(search)
    photos.add_argument("--like", metavar="PATH", help="a photo of the index, by its path from the folder")
    photos.add_argument("--image-weight", type=float, default=1.0, help="weight of the photo beside the words")
    photos.add_argument("--folder", help="only photos in this folder and below it, from the top folder")
    photos.add_argument("--after", type=_day, metavar="YYYY-MM-DD", help="taken on this day or later")
    photos.add_argument("--before", type=_day, metavar="YYYY-MM-DD", help="taken on this day or earlier")
    photos.add_argument("--megapixels", type=float, help="of at least so many megapixels")
    photos.add_argument("--orientation", help="landscape, portrait or square")
    photos.add_argument("--camera", help="a part of the camera's name")
    photos.add_argument("--by-date", action="store_true", help="the newest of the best first")
    photos.add_argument("--no-cut-off", action="store_true", help="also photos that hardly look like the sentence")
    photos.add_argument("--no-groups", action="store_true", help="copies of a photo one by one")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is no day; write it as 2024-08-31") from None


def _index(options: argparse.Namespace) -> None:
    from crossmodal.files import shown
    from crossmodal.photos.index import index_photos
    from crossmodal.photos.store import Store, index_folder

    check_spreading(options)
    bar: tqdm[Any] = tqdm(unit="photo", desc="Preparing the model", disable=None, leave=False)
    try:
        if options.parquet:
            print(write_parquet(options, _shown_on(bar)))
            return
        changes = index_photos(
            options.photos, options.index, options.checkpoint, options.exclude, options.rebuild, _shown_on(bar),
            cluster=cluster_of(options),
        )  # fmt: skip
    finally:
        bar.close()
    store = Store(index_folder(options.photos, options.index), writable=False)
    skipped = {path: reason for path, (_, reason) in store.skipped().items()}
    print(summary(changes, sum(1 for _ in store.photos()), Counter(skipped.values())))
    store.close()
    if options.verbose:
        for path, reason in skipped.items():
            print(f"  {shown(path)}: {reason}")
        for folder in changes.unreadable:
            print(f"  {shown(folder) or '.'}: the folder cannot be listed; what was known of it is kept")


def _shown_on(bar: "tqdm[Any]") -> "Callable[[Step], None]":
    def watch(step: "Step") -> None:
        bar.set_description("Indexing", refresh=False)
        bar.total = step.photos_in_all
        bar.update(step.photos - bar.n)
        bar.set_postfix_str(f"{step.bytes / 1e9:.2f} of {step.bytes_in_all / 1e9:.2f} GB")

    return watch


def summary(changes: "Changes", photos: int, skipped: "Counter[str]") -> str:
    """Return what a run did in a few lines."""
    counts = (
        (changes.new, "new"), (changes.changed, "changed"), (changes.moved, "moved"), (changes.copies, "copies"),
        (changes.forgotten, "forgotten"),
    )  # fmt: skip
    did = ", ".join(f"{count:,} {name}" for count, name in counts if count > 0) or "nothing new"
    encoded = changes.new + changes.changed
    speed = f", {encoded / changes.seconds:.0f} photos a second" if encoded and changes.seconds else ""
    lines = [f"{photos:,} photos in the index: {did}, in {changes.seconds:.1f} s{speed}."]
    if skipped:
        count, often = sum(skipped.values()), skipped.most_common(1)[0][0]
        lines.append(f"{counted(count, 'file')} cannot be used (--verbose lists them), most often: {often}.")
    if changes.unreadable:
        lines.append(f"{counted(len(changes.unreadable), 'folder')} cannot be listed; what was known of it is kept.")
    return "\n".join(lines)


def counted(count: int, one: str, many: str = "") -> str:
    """Return a number with its noun."""
    return f"{count:,} {one if count == 1 else many or f'{one}s'}"


def search_photos(options: argparse.Namespace) -> None:
    """Answer `search --photos` and `search --milvus`."""
    from crossmodal.photos.gallery import PhotoLibrary
    from crossmodal.photos.store import index_folder
    from crossmodal.search.filters import Filters
    from crossmodal.search.search import PhotoSearch

    library: PhotoSearch
    if options.milvus:
        from crossmodal.scale.milvus.gallery import MilvusSearch

        library = MilvusSearch(opened_milvus(options), root=options.photos)
    else:
        library = PhotoLibrary(index_folder(options.photos, options.index))
    wanted = Filters(
        options.folder, options.after, options.before, options.megapixels, options.orientation, options.camera
    )

    def found(query: "PhotoQuery") -> "list[PhotoHit]":
        return library.search(
            query, options.top_k, wanted, options.by_date, cut_off=not options.no_cut_off, group=not options.no_groups
        )

    if options.queries:
        return _answer_file(options, lambda sentence: found(library.query(sentence)))
    photo = library.encode_photo(options.image) if options.image else None
    hits = found(library.query(" + ".join(options.text), photo, options.image_weight, options.like))
    if options.json:
        import json

        print(json.dumps([as_record(hit) for hit in hits], ensure_ascii=False, indent=2))
    elif hits:
        for hit in hits:
            copies = len(hit.exact_copies) + len(hit.similar_copies)
            more = f"  ({counted(copies, 'copy', 'copies')})" if copies else ""
            caption = f"  {hit.photo.captions[0]}" if hit.photo.captions else ""
            print(f"{hit.score:.3f}  {_printable(hit)}{more}{caption}")
    else:
        print(_nothing(library.table.count(Filters()) > 0, wanted != Filters()), file=sys.stderr)


def _answer_file(options: argparse.Namespace, found: "Callable[[str], list[PhotoHit]]") -> None:
    from crossmodal.commands.sentences import sentences_to_ask, write_answers

    sentences = sentences_to_ask(options)
    records = [
        {
            "query": sentence,
            "rank": rank,
            "image": hit.name,
            "path": _printable(hit),
            "score": round(hit.score, 4),
            "caption": "",
        }
        for sentence in sentences
        for rank, hit in enumerate(found(sentence), start=1)
    ]
    write_answers(options.output, records, len(sentences))


def _nothing(photos: bool, filtered: bool) -> str:
    if not photos:
        return "The index holds no photo."
    also = " with these filters" if filtered else ""
    return f"Nothing here looks like that{also}. --no-cut-off shows the closest all the same."


def _printable(hit: "PhotoHit") -> str:
    from crossmodal.files import shown

    return shown(os.fspath(hit.path))


def as_record(hit: "PhotoHit") -> dict[str, Any]:
    """Return a hit as plain values."""
    from datetime import datetime

    from crossmodal.search.filters import date_of, orientation_of

    described = hit.photo.described
    if not described.width:  # a run's, in an engine
        return {"path": _printable(hit), "score": round(hit.score, 4), "captions": list(hit.photo.captions)}
    return {
        "path": _printable(hit),
        "score": round(hit.score, 4),
        "date": datetime.fromtimestamp(date_of(hit.photo)).isoformat(timespec="seconds"),
        "width": described.width,
        "height": described.height,
        "orientation": orientation_of(described.width, described.height),
        "camera": described.camera,
        "bytes": hit.photo.found.size,
        "exact_copies": list(hit.exact_copies),
        "similar_copies": list(hit.similar_copies),
    }


def refuse_without_photos(options: argparse.Namespace) -> None:
    """Raise CrossmodalError for options that only photos have, where no folder of photos is named."""
    alone = {"like": None, "folder": None, "after": None, "before": None, "megapixels": None, "orientation": None,
             "camera": None, "index": None, "by_date": False, "no_cut_off": False, "no_groups": False}  # fmt: skip
    given = [name for name, default in alone.items() if getattr(options, name) != default]
    if given:
        raise CrossmodalError(f"--{given[0].replace('_', '-')} goes with --photos DIR.")
