"""One HTML file that needs no other: plots inside, tables, and no script."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:66em;margin:2em auto;padding:0 1em;color:#222}}
img{{max-width:100%}}table{{border-collapse:collapse;margin:.5em 0 1.5em}}td,th{{padding:.15em .8em;border-bottom:1px solid
#ddd;text-align:left}}td.n{{text-align:right;font-variant-numeric:tabular-nums}}h2{{margin-top:2em}}</style>
<h1>{title}</h1>{body}</html>"""


def page_html(title: str, body: str) -> str:
    """A whole page."""
    return _PAGE.format(title=html.escape(title), body=body)


def figure_html(figure: Figure, alt: str = "plots") -> str:
    """A matplotlib figure as a picture inside the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return _image(buffer.getvalue(), alt)


def picture_html(path: str | Path, alt: str) -> str:
    """A PNG file as a picture inside the page."""
    return _image(Path(path).read_bytes(), alt)


def _image(png: bytes, alt: str) -> str:
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{base64.b64encode(png).decode()}">'


def table_html(title: str, rows: Sequence[Sequence[object]], head: Sequence[str] = ()) -> str:
    """A titled table: a name in the first column, values in the others; whole numbers get thousands separators."""

    def cell(value: object) -> str:
        text = f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)
        return f"<td class=n>{html.escape(text)}</td>"

    lines = ["<tr>" + "".join(f"<th>{html.escape(h)}</th>" for h in head) + "</tr>"] if head else []
    lines += [f"<tr><td>{html.escape(str(name))}</td>" + "".join(map(cell, values)) + "</tr>" for name, *values in rows]
    return f"<h2>{html.escape(title)}</h2><table>{''.join(lines)}</table>"


__all__ = ["figure_html", "page_html", "picture_html", "table_html"]
