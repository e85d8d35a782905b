"""For mkdocs: the help of each `option(...)` of a settings dataclass becomes the documentation of that field."""

from __future__ import annotations

import ast
from typing import Any

import griffe


class OptionDocs(griffe.Extension):
    """`bars: int = option(16, "length in bars", low=1, high=1024)` → a default of 16, documented as in --help."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **kwargs: Any) -> None:
        """Read default, help, range and unit from the call."""
        if attr.value is None or not str(attr.value).startswith("option("):
            return
        call = ast.parse(str(attr.value), mode="eval").body
        assert isinstance(call, ast.Call)
        named = {k.arg: k.value for k in call.keywords}
        text = _plain(call.args[1] if len(call.args) > 1 else named.get("help")) or ""
        low, high, unit = (_plain(named.get(k)) for k in ("low", "high", "unit"))
        if low is not None and high is not None:
            text += f" (from {low} to {high}{' ' + str(unit) if unit else ''})"
        if attr.docstring is None and text:
            attr.docstring = griffe.Docstring(text, parent=attr)
        attr.value = ast.unparse(call.args[0]) if call.args else None


def _plain(node: ast.expr | None) -> Any:
    """The value of a literal; the source of anything else, such as MAX_BARS or 2**63 - 1."""
    if node is None:
        return None
    try:
        return ast.literal_eval(node)
    except ValueError:
        return ast.unparse(node)
