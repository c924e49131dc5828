"""What commands print: tables for a terminal, JSON for programs."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import cast


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a head, columns as wide as their widest cell."""
    cells = [[_shown(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def print_json(value: object) -> None:
    """Print valid JSON, whatever the encoding of the output; a number that is none is null."""
    is_unicode = sys.stdout.encoding.lower().replace("-", "").startswith("utf")
    print(json.dumps(_finite(value), indent=2, ensure_ascii=not is_unicode, allow_nan=False))


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in cast("Sequence[object]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _shown(cell: str) -> str:
    """Return a cell's text without control characters: a category may hold any."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in cell)
