"""serve and api-key: search behind HTTP."""

import argparse
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from crossmodal.commands.galleries import add_gallery_options, place_of
from crossmodal.errors import CrossmodalError

MOST_MEGA = 1000.0  # bytes or pixels of an upload
HIGHEST_RATE = 10**9
HOST = re.compile(r"[A-Za-z0-9_.-]+|[0-9A-Fa-f:]+")  # IPv6 too
ORIGIN = re.compile(r"\*|https?://[^/?#\s@]+")


def add_serving_commands(commands: Any) -> None:
    """Add serve and api-key."""
    serve = commands.add_parser("serve", help="search behind HTTP, with a web page")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine alone)")
    serve.add_argument("--port", type=int, default=8000)
    serve.add_argument("--keys", type=Path, metavar="FILE", help="API keys that may ask; made with api-key")
    serve.add_argument(
        "--rate", default="600/minute", help="terms and requests of one key, or address (default: %(default)s)"
    )
    serve.add_argument("--cors-origin", action="append", default=[], metavar="URL", help="a web site that may ask too")
    serve.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a name that it answers to, beside its own address and localhost",
    )
    serve.add_argument(
        "--trust-proxy",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="a proxy, or a network of them, whose X-Forwarded-For is believed",
    )
    serve.add_argument("--upload-megabytes", type=float, default=10.0, help="largest upload")
    serve.add_argument("--upload-megapixels", type=float, default=40.0, help="largest photo that is decoded")
    serve.add_argument("--log-queries", action="store_true", help="write what is asked into the log")
    serve.add_argument(
        "--allow-writes",
        action="store_true",
        help="let those who may ask save albums too (default: nothing is written)",
    )
    serve.add_argument(
        "--reload-model",
        action="store_true",
        help="make the server on this port reload model and gallery, then exit",
    )
    add_gallery_options(serve)
    serve.set_defaults(run=_serve)
    key = commands.add_parser("api-key", help="make an API key for serve")
    key.add_argument("name", help="whose it is")
    key.add_argument("--keys", type=Path, required=True, metavar="FILE", help="file that gets its hash")
    key.set_defaults(run=_api_key)


def _serve(options: argparse.Namespace) -> None:
    from limits import parse

    from crossmodal.galleries import open_search
    from crossmodal.progress import terminal
    from crossmodal.serving.guards import Limits
    from crossmodal.serving.server import Served, reload_model, serve

    if options.reload_model:
        return reload_model(options.port)
    place = place_of(options)
    if not 0 <= options.port < 65536:
        raise CrossmodalError(f"--port {options.port} should be from 0, any that is free, to 65535.")
    try:
        rate = parse(options.rate)
    except ValueError as error:
        raise CrossmodalError(f"--rate {options.rate} cannot be read; write it as 600/minute or 10/second.") from error
    if not 1 <= rate.amount <= HIGHEST_RATE or rate.multiples < 1:
        raise CrossmodalError(
            f"--rate {options.rate} should let 1 to {HIGHEST_RATE:,} through; write it as 600/minute or 10/second."
        )
    for host in options.allow_host:
        if not HOST.fullmatch(host):
            raise CrossmodalError(f"--allow-host {host} is not a name; write it as photos.example.org, without a port.")
    for origin in options.cors_origin:
        if not ORIGIN.fullmatch(origin):
            raise CrossmodalError(
                f"--cors-origin {origin} is not the origin of a web site; write it as https://example.org."
            )
    for name in ("upload_megabytes", "upload_megapixels"):
        if not 0 < getattr(options, name) <= MOST_MEGA:
            option = name.replace("_", "-")
            raise CrossmodalError(
                f"--{option} {getattr(options, name)} should be greater than 0, and at most {MOST_MEGA:,}."
            )
    limits = Limits(
        upload_bytes=int(options.upload_megabytes * 1e6), upload_pixels=int(options.upload_megapixels * 1e6), rate=rate
    )
    served = Served(
        options.host, options.port, options.keys, tuple(options.cors_origin), frozenset(options.allow_host),
        tuple(map(_network, options.trust_proxy)), options.log_queries, options.allow_writes, limits,
    )  # fmt: skip
    serve(lambda: open_search(place, terminal, to_stay=True), served)


def _network(text: str) -> str:
    try:
        return str(ip_network(text, strict=False))
    except ValueError:
        raise CrossmodalError(f"--trust-proxy {text} is not an address; write it as 10.0.0.2 or 10.0.0.0/24.") from None


def _api_key(options: argparse.Namespace) -> None:
    from crossmodal.serving.keys import add_key

    print(add_key(options.keys, options.name))
