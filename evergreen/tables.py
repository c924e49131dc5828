"""Plain tables for a terminal."""

from collections.abc import Sequence


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a head, columns as wide as their widest cell."""
    cells = [[_shown(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def _shown(cell: str) -> str:
    """Return a cell's text without control characters: a category may hold any."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in cell)
