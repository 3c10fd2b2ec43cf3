"""A report as one HTML file: text, tables, photos, and charts that need no network."""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import vl_convert

from crossmodal.evaluation.compare import BLOCKS
from crossmodal.evaluation.report.photo_strips import Strip, Thumbnails
from crossmodal.evaluation.result import Result

STYLE = """
:root {color-scheme: light dark; --paper: #fff; --ink: #1d2127; --faint: #69717c; --card: #f3f5f8; --right: #1f9d55}
@media (prefers-color-scheme: dark) {:root {--paper: #14171b; --ink: #e8eaed; --faint: #9aa3ad; --card: #20252b}}
body {font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1120px; margin: 0 auto; padding: 1.5rem 1rem 4rem}
h1 {font-size: 1.6rem; margin: 0 0 .3rem} h2 {font-size: 1.15rem; margin: 2.4rem 0 .4rem}
p, .faint {color: var(--faint); margin: .2rem 0 .7rem; max-width: 46rem} code {overflow-wrap: anywhere}
nav {display: flex; flex-wrap: wrap; gap: .3rem 1rem; margin: 1rem 0} a {color: #2e7dd2}
.wide {overflow-x: auto} .wide table {border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .84rem; margin-bottom: .8rem}
.wide th, .wide td {text-align: right; padding: .25rem .55rem; border-bottom: 1px solid var(--card); white-space: nowrap}
.wide th:first-child, .wide td:first-child {text-align: left; white-space: normal; min-width: 13rem; overflow-wrap: anywhere}
.strip {background: var(--card); border-radius: .6rem; padding: .6rem .8rem; margin-bottom: .7rem}
.strip b {font-weight: 600} .tiles {display: grid; grid-template-columns: repeat(auto-fill, minmax(130px, 1fr)); gap: .6rem; margin-top: .5rem}
figure {margin: 0; overflow-wrap: anywhere; font-size: .78rem; color: var(--faint)} figure img {width: 100%; aspect-ratio: 1; object-fit: cover; border-radius: .35rem; display: block; box-sizing: border-box}
figure.right img {border: 4px solid var(--right)} figure.right {color: var(--right); font-weight: 600} figure.text {background: var(--paper); border-radius: .35rem; padding: .5rem}
figure.text.right {outline: 3px solid var(--right)} #vg-tooltip-element {max-width: 20rem}
"""
DRAW = """
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
for (const place of document.querySelectorAll("[data-chart]")) {
  const spec = JSON.parse(document.getElementById(place.dataset.chart).textContent);
  vegaEmbed(place, spec, {actions: false, theme: dark ? "dark" : undefined, config: {background: "transparent"}});
}
"""


class Page:
    """The sections of a report, in the order in which they are added."""

    def __init__(self, title: str, about: Iterable[str]) -> None:
        self._title, self._about = title, list(about)
        self._sections: list[tuple[str, str]] = []
        self._charts: list[str] = []

    def add(self, title: str, says: str, *content: str) -> None:
        """Add a section with a sentence that explains it."""
        self._sections.append((title, f"<p>{html.escape(says)}</p>{''.join(content)}"))

    def chart(self, spec: Mapping[str, Any]) -> str:
        """Add a Vega-Lite specification to the file; return the element that shows it."""
        # A caption may contain "</script>", which would end the element.
        self._charts.append(json.dumps(spec).replace("<", "\\u003c"))
        return f'<div class="wide"><div data-chart="chart-{len(self._charts) - 1}"></div></div>'

    def text(self) -> str:
        """Return the whole file."""
        links = "".join(f'<a href="#part-{n}">{html.escape(title)}</a>' for n, (title, _) in enumerate(self._sections))
        parts = "".join(
            f'<section id="part-{n}"><h2>{html.escape(title)}</h2>{content}</section>'
            for n, (title, content) in enumerate(self._sections)
        )
        charts = "".join(
            f'<script type="application/json" id="chart-{n}">{spec}</script>' for n, spec in enumerate(self._charts)
        )
        about = "".join(f"<p>{html.escape(line)}</p>" for line in self._about)
        script = vl_convert.javascript_bundle(DRAW).replace("</script", "<\\/script")
        return (
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(self._title)}</title>'
            f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head><body>'
            f"<h1>{html.escape(self._title)}</h1>{about}<nav>{links}</nav>{parts}{charts}"
            f'<script type="module">{script}</script></body></html>\n'
        )


def figures(results: Sequence[Result]) -> str:
    """Return the tables of all systems."""
    tables = []
    for block in BLOCKS:
        head = "".join(f"<th>{html.escape(title)}</th>" for title, _, _ in block)
        rows = "".join(
            f"<tr><td>{html.escape(result.name)}</td>"
            + "".join(
                f"<td>{result.cell(key, digits) if key in result.metrics else ''}</td>" for _, key, digits in block
            )
            + "</tr>"
            for result in results
        )
        tables.append(f'<div class="wide"><table><tr><th></th>{head}</tr>{rows}</table></div>')
    return "".join(tables)


def strips(rows: Sequence[Strip], thumbnails: Thumbnails) -> str:
    """Return strips of tiles, the right ones framed."""
    return "".join(
        f'<div class="strip"><b>{html.escape(row.title)}</b><div class="tiles">'
        + "".join(_tile(tile.label, thumbnails.url(tile.path) if tile.path else None, tile.right) for tile in row.tiles)
        + "</div></div>"
        for row in rows
    )


def _tile(label: str, url: str | None, right: bool) -> str:
    photo = f'<img src="{url}" alt="" loading="lazy">' if url else ""
    kinds = " ".join(name for name, there in (("right", right), ("text", url is None)) if there)
    return f'<figure class="{kinds}">{photo}<figcaption>{html.escape(label)}</figcaption></figure>'
