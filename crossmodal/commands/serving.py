"""serve and api-key: search behind HTTP."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossmodal.commands.milvus import add_collection_option, opened_milvus
from crossmodal.errors import CrossmodalError

if TYPE_CHECKING:
    from crossmodal.serving.gallery import Gallery


def add_serving_commands(commands: Any) -> None:
    """Add serve and api-key."""
    serve = commands.add_parser("serve", help="search behind HTTP, with a web page")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--photos", type=Path, metavar="DIR", help="an indexed folder of photos")
    serve.add_argument(
        "--checkpoints", type=Path, metavar="DIR", help="a run, or a folder of runs (default: the page's)"
    )
    serve.add_argument(
        "--milvus", metavar="URL", help="a gallery in Milvus (see load); --photos and --checkpoints then say where its "
        "photos and its model lie on this machine, if elsewhere",
    )  # fmt: skip
    add_collection_option(serve)
    serve.add_argument(
        "--index", type=Path, metavar="DIR", help="where the index of --photos lies, if not in the folder"
    )
    serve.add_argument("--keys", type=Path, metavar="FILE", help="API keys that may ask; made with api-key")
    serve.add_argument("--rate", default="600/minute", help="requests of one key, or address, for example 10/second")
    serve.add_argument("--cors-origin", action="append", default=[], metavar="URL", help="a web site that may ask too")
    serve.add_argument("--upload-megabytes", type=float, default=10.0, help="largest upload")
    serve.add_argument("--upload-megapixels", type=float, default=40.0, help="largest photo that is decoded")
    serve.add_argument("--log-queries", action="store_true", help="write what is asked into the log")
    serve.add_argument("--reload-model", action="store_true", help="tell the server on this port to swap, and end")
    serve.set_defaults(run=_serve)
    key = commands.add_parser("api-key", help="make an API key for serve")
    key.add_argument("name", help="whose it is")
    key.add_argument("--keys", type=Path, required=True, metavar="FILE", help="file that gets its hash")
    key.set_defaults(run=_api_key)


def _serve(options: argparse.Namespace) -> None:
    from limits import parse

    from crossmodal.serving.guards import Limits
    from crossmodal.serving.server import Served, reload_model, serve

    if options.reload_model:
        return reload_model(options.port)
    if options.photos and options.checkpoints and not options.milvus:
        raise CrossmodalError("One gallery is served: give --photos DIR or --checkpoints DIR.")
    if not 0 <= options.port < 65536:
        raise CrossmodalError(f"--port {options.port} is no port; give 1 to 65535.")
    try:
        rate = parse(options.rate)
    except ValueError as error:
        raise CrossmodalError(f"--rate {options.rate} is no rate; write it as 600/minute or 10/second.") from error
    limits = Limits(
        upload_bytes=int(options.upload_megabytes * 1e6), upload_pixels=int(options.upload_megapixels * 1e6), rate=rate
    )
    origins = tuple(options.cors_origin)
    served = Served(options.host, options.port, options.keys, origins, options.log_queries, limits)
    serve(lambda: _gallery(options), served)


def _gallery(options: argparse.Namespace) -> "Gallery":
    from crossmodal.photos.store import index_folder
    from crossmodal.progress import terminal
    from crossmodal.serving.photo_gallery import PhotoGallery
    from crossmodal.serving.run_gallery import open_run

    if options.milvus:
        from crossmodal.runs.opening import checkpoint_of
        from crossmodal.serving.engine_gallery import MilvusGallery

        checkpoint = checkpoint_of(options.checkpoints) if options.checkpoints else None
        return MilvusGallery(opened_milvus(options), checkpoint, options.photos)
    if options.photos:
        return PhotoGallery(index_folder(options.photos, options.index))
    return open_run(options.checkpoints, terminal)


def _api_key(options: argparse.Namespace) -> None:
    from crossmodal.serving.keys import add_key

    print(add_key(options.keys, options.name))
