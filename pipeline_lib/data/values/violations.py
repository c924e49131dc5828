"""What rules have found: the rows of one batch that break one, and the sum over a stream.

Sums do not depend on where batches end: counts add up, and the examples are the first different
values of the stream.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.config.columns import Severity
from pipeline_lib.data.arrow import has_zone
from pipeline_lib.errors import Violation
from pipeline_lib.shown import hashed
from pipeline_lib.wording import MAX_EXAMPLES, examples, rows_that

RowNumbers = npt.NDArray[np.int64]
_MAX_SHOWN = MAX_EXAMPLES + 1  # one more than is shown, so that a message can say "and others"
_MAX_CHARACTERS = 100


@dataclass(frozen=True)
class BrokenRows:
    """RowNumbers of one batch that break one rule.

    Attributes:
        rule: its name.
        rows: positions within the batch, ascending, shape ``(n_broken,)``.
        shown: the first few different values that break it.
        before: the message between the count and the examples.
        after: the message after the examples.
    """

    rule: str
    rows: RowNumbers
    shown: tuple[object, ...]
    before: str
    after: str = ""


def rows_where(
    mask: pa.ChunkedArray, values: pa.ChunkedArray, rule: str, before: str, after: str = ""
) -> list[BrokenRows]:
    """Return the rows where `mask` is true, none if there are none; null counts as false."""
    rows = positions(mask)
    if not len(rows):
        return []
    return [BrokenRows(rule, rows, first_values(values.filter(mask)), before, after)]


def positions(mask: pa.ChunkedArray) -> RowNumbers:
    """Return where a boolean column is true; null counts as false."""
    return np.flatnonzero(pc.fill_null(mask, False).to_numpy())


def first_values(values: pa.ChunkedArray) -> tuple[object, ...]:
    """Return the first few different values, text cut to what a message could show."""
    if has_zone(values.type):
        # In UTC: to show another zone Arrow needs a database that not every machine has.
        values = values.cast(pa.timestamp(values.type.unit, "UTC"))
    if pa.types.is_temporal(values.type):  # Python has no nanoseconds and no year 10000
        values = values.cast(pa.string())
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        values = pc.utf8_slice_codeunits(values, 0, _MAX_CHARACTERS)
    return tuple(values.unique()[:_MAX_SHOWN].to_pylist())


@dataclass(frozen=True, repr=False)
class ExampleRow:
    """A row of the stream as messages show it: `row 17 (price=-1.0)`."""

    number: int
    values: tuple[tuple[str, object], ...] = ()

    def __repr__(self) -> str:
        named = ", ".join(f"{name}={value!r}" for name, value in self.values)
        return f"row {self.number} ({named})" if named else f"row {self.number}"

    def without(self, hidden: Collection[str]) -> "ExampleRow":
        """Return the row with the hashes of values in place of those of the hidden columns."""
        values = ((name, hashed(v) if name in hidden else v) for name, v in self.values)
        return ExampleRow(self.number, tuple(values))


@dataclass
class _Sum:
    """What one rule has found so far."""

    column: str
    rule: str
    severity: Severity
    before: str
    after: str
    n_rows: int = 0
    shown: dict[str, object] = field(default_factory=dict[str, object])
    rows: list[RowNumbers] = field(default_factory=list[RowNumbers])

    @property
    def name(self) -> str:
        return f"{self.column}: {self.rule}" if self.column else self.rule

    def violation(self) -> Violation:
        shown = list(self.shown.values())
        message = f"{rows_that(self.n_rows, self.before)}{examples(shown)}{self.after}"
        if not self.column:
            message = f"rule {self.rule!r}: {message}"
        quoted = tuple(examples([value]) for value in shown[:MAX_EXAMPLES])
        return Violation(self.column, self.rule, self.n_rows, message, self.severity, quoted)


class BrokenRules:
    """What all rules have found over a stream."""

    def __init__(
        self, order: Sequence[tuple[str, str]], *, hidden: Collection[str] = frozenset()
    ) -> None:
        """Start with nothing.

        Args:
            order: pairs of column and rule as a report lists them.
            hidden: columns whose values are quoted as hashes.
        """
        self._hidden = frozenset(hidden)
        self._order = {pair: position for position, pair in enumerate(order)}
        self._sums: dict[tuple[str, str], _Sum] = {}

    def add(
        self,
        column: str,
        severity: Severity,
        broken: BrokenRows,
        *,
        first_row: int,
        keep_rows: bool,
    ) -> None:
        """Count rows of a batch that begins at `first_row`; `keep_rows` remembers which."""
        new = _Sum(column, broken.rule, severity, broken.before, broken.after)
        found = self._sums.setdefault((column, broken.rule), new)
        found.n_rows += len(broken.rows)
        for value in broken.shown:
            if len(found.shown) < _MAX_SHOWN:
                quoted = self._quoted(column, value)
                found.shown.setdefault(repr(quoted), quoted)
        if keep_rows:
            found.rows.append(broken.rows + first_row)

    def _quoted(self, column: str, value: object) -> object:
        if isinstance(value, ExampleRow):
            return value.without(self._hidden)
        return hashed(value) if column in self._hidden else value

    def violations(self, severities: Iterable[Severity]) -> tuple[Violation, ...]:
        """Return what was found under these severities, in the order of columns and rules."""
        wanted = set(severities)
        return tuple(found.violation() for found in self._sorted() if found.severity in wanted)

    def names_by_row(self, rows: RowNumbers) -> tuple[tuple[str, ...], ...]:
        """Return, for each of the sorted rows, the names of the rules that put it aside."""
        names: list[list[str]] = [[] for _ in range(len(rows))]
        for found in self._sorted():
            if found.severity == "quarantine":
                for broken in found.rows:
                    for position in np.searchsorted(rows, broken):
                        names[position].append(found.name)
        return tuple(tuple(each) for each in names)

    def _sorted(self) -> list[_Sum]:
        return [self._sums[pair] for pair in sorted(self._sums, key=lambda p: self._order[p])]
