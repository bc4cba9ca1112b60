"""Pieces of a report in HTML: one page that needs nothing beside it.

Text that is not from this package must be escaped before it goes into a cell.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final

__all__ = ["image", "interval", "page", "row", "section", "table"]

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 68rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: .2rem } h2 { font-size: 1.2rem; margin-top: 2.2rem;
border-bottom: 1px solid #ddd } .wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .85rem; margin: .7rem 0 }
caption { text-align: left; font-weight: 600; padding: .2rem 0 }
th, td { padding: .22rem .7rem; border-bottom: 1px solid #e6e6e6; text-align: right;
         white-space: nowrap } th:first-child, td:first-child { text-align: left }
small { color: #777 } img { max-width: 100%; height: auto } p { max-width: 50rem }
.note { background: #fff6dd; border-left: 4px solid #e69f00; padding: .5rem 1rem }
code { font-size: .8rem }
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Return a page of parts, one below the other; those without content are left out."""
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    body = "\n".join(part for part in parts if part)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def section(title: str, *parts: str) -> str:
    """Return parts below a title, or nothing without a part."""
    body = "\n".join(part for part in parts if part)
    return f"<h2>{escape(title)}</h2>\n{body}" if body else ""


def image(images: Mapping[str, bytes], name: str) -> str:
    """Return a PNG file as part of the page, or nothing if it is not there."""
    if name not in images:
        return ""
    encoded = base64.b64encode(images[name]).decode()
    alt = name.replace("_", " ")
    return f'<p style="max-width:none"><img alt="{alt}" src="data:image/png;base64,{encoded}"></p>'


def interval(figure: Mapping[str, Any] | None, form: str = ".3f") -> str:
    """Return a figure with its interval for a cell, in the given format."""
    if not figure or figure["value"] is None:
        return "-"
    value, low, high = figure["value"], figure["low"], figure["high"]
    spread = "" if low is None else f" <small>{low:{form}} to {high:{form}}</small>"
    return f"{value:{form}}{spread}"


def row(cells: Sequence[str]) -> str:
    """Return a row of a table."""
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def table(head: Sequence[str], rows: Iterable[str], caption: str = "") -> str:
    """Return a table of rows."""
    named = f"<caption>{escape(caption)}</caption>" if caption else ""
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    return f'<div class="wide"><table>{named}<tr>{titles}</tr>{"".join(rows)}</table></div>'
