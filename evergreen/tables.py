"""What commands print: tables for a terminal, JSON for programs."""

import json
import math
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO, cast

from pipeline_lib.shown import printable, shown


def say(text: str = "", *, to: TextIO | None = None) -> None:
    """Print a message, of one or more lines, for a person: printable, and without secrets."""
    print(shown(text), file=to or sys.stdout, flush=True)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a head, columns as wide as their widest cell."""
    cells = [[printable(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())
    sys.stdout.flush()  # in a log, errors and tables stand in the order in which they were printed


def print_json(value: object) -> None:
    """Print valid JSON, whatever the encoding of the output; a number that is none is null."""
    is_unicode = sys.stdout.encoding.lower().replace("-", "").startswith("utf")
    text = json.dumps(_finite(value), indent=2, ensure_ascii=not is_unicode, allow_nan=False)
    print("\n".join(_escaped(line) for line in text.split("\n")))


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in cast("Mapping[str, object]", value).items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in cast("Sequence[object]", value)]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _escaped(line: str) -> str:
    """Return a line of JSON with what is not printable escaped as JSON has it."""
    if line.isprintable():
        return line
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in line)
