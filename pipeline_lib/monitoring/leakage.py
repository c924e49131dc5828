"""Columns that know the target and would not on the day of a prediction, and columns without use.

A leak is reported, with its numbers; what follows is decided elsewhere: `evergreen new` leaves the
columns out, a run warns. At most `MAX_ROWS` rows are examined, the same ones every time.

A column is judged on rows that it has not seen: what a category, or a bin of numbers, says of the
target is learned from one half of the rows and asked of the other. So a column where every value
is different learns nothing, however many values it has. Which half a row is in follows from its
content, so that rows that stand twice in a table are no way around.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.config.columns import Column
from pipeline_lib.config.data import Task
from pipeline_lib.data.arrow import different, is_number, one_array
from pipeline_lib.data.contract.column_rules import hidden_columns
from pipeline_lib.data.hashing import splitmix64
from pipeline_lib.monitoring.counts import Floats
from pipeline_lib.monitoring.formulas import find_formulas
from pipeline_lib.shown import hashed
from pipeline_lib.wording import examples

Codes = npt.NDArray[np.int64]
LeakKind = Literal["predicts", "formula", "copy", "id", "constant"]

MAX_ROWS = 100_000
# Strong and honest columns stay below: weight explains 92 % of the ranks of diamonds' prices.
PREDICTS = 0.98
NEARLY_ALL = 0.98
_LEAST_ROWS = 50
_LEAST_VALUES = 20
_MAX_BINS = 1_000


@dataclass(frozen=True)
class Leak:
    """Columns that had better not be features; alone, or of a `formula` together.

    Attributes:
        score: 0 to 1. Of classes the share of the majority's mistakes that the column avoids, of a
            regression R²; of an id the share of values that are different.
    """

    columns: tuple[str, ...]
    kind: LeakKind
    score: float
    reason: str

    @property
    def sentence(self) -> str:
        """The reason with its columns; at most 5 are named."""
        return f"{examples(self.columns)}: {self.reason}"


def leaks_in(
    typed: pa.Table, columns: Mapping[str, Column], target: str, task: Task
) -> tuple[Leak, ...]:
    """Return the leaks among a config's columns.

    Args:
        typed: rows with their declared types, target included.
        columns: the config's features.
        target: the column to predict.
        task: what kind of prediction it is.
    """
    return find_leaks(typed, list(columns), target, task, hidden=hidden_columns(columns))


def find_leaks(
    table: pa.Table,
    features: Sequence[str],
    target: str,
    task: Task,
    *,
    hidden: Collection[str] = frozenset(),
) -> tuple[Leak, ...]:
    """Return the leaks among features, whose Arrow types say what they are.

    Args:
        table: text and booleans are categories, times are only compared with ids, the rest numbers.
        features: which columns to look at.
        target: the column to predict; rows without it do not count.
        task: what kind of prediction it is.
        hidden: features whose values are quoted as hashes.

    Returns:
        Leaks in the order of the features, formulas last; no column twice.
    """
    first = table.slice(0, MAX_ROWS)
    rows = _sampled(table.select([*features, target]))
    rows = rows.filter(pc.is_valid(rows[target]))
    useless = {
        name: leak
        for name in features
        if (leak := _useless(name, rows[name], first[name], is_hidden=name in hidden)) is not None
    }
    if rows.num_rows < _LEAST_ROWS:
        return tuple(useless.values())
    judged = [
        _seen(name, rows[name], is_hidden=name in hidden)
        for name in features
        if name not in useless and not pa.types.is_temporal(rows[name].type)
    ]
    if task == "regression":
        y = _as_floats(rows[target])
        known = np.isfinite(y)
        judged = [column.only(known) for column in judged]
        alone, formulas = _of_numbers(judged, y[known], target)
    else:
        alone, formulas = _of_classes(judged, _seen(target, rows[target]), target), []
    found = useless | {leak.columns[0]: leak for leak in alone}
    return (*(found[name] for name in features if name in found), *formulas)


@dataclass(frozen=True, eq=False)
class _Seen:
    """A column as categories: codes in ``range(n_codes)``, of numbers those of their bins."""

    name: str
    codes: Codes
    n_codes: int
    numbers: Floats | None
    words: tuple[str, ...] = ()

    def only(self, rows: npt.NDArray[np.bool_]) -> "_Seen":
        numbers = None if self.numbers is None else self.numbers[rows]
        return _Seen(self.name, self.codes[rows], self.n_codes, numbers, self.words)


def _sampled(rows: pa.Table) -> pa.Table:
    if rows.num_rows <= MAX_ROWS:
        return rows
    random = np.random.default_rng(0)
    return rows.take(np.sort(random.choice(rows.num_rows, MAX_ROWS, replace=False)))


def _seen(name: str, values: pa.ChunkedArray, *, is_hidden: bool = False) -> _Seen:
    if is_number(values.type):
        numbers = _as_floats(values)
        codes, n_codes = _binned(numbers)
        return _Seen(name, codes, n_codes, numbers)
    different_words, places = different(one_array(values).cast(pa.string()))
    words = tuple(different_words.to_pylist())
    if is_hidden:
        words = tuple(hashed(word) or "" for word in words)
    return _Seen(name, places.astype(np.int64), len(words) + 1, None, words)


def _as_floats(values: pa.ChunkedArray) -> Floats:
    numbers = values.cast(pa.float64(), safe=False).to_numpy().astype(np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _binned(numbers: Floats) -> tuple[Codes, int]:
    """Return a bin per value, equal ones in the same; NaN has the last one to itself."""
    known = np.sort(numbers[np.isfinite(numbers)])
    edges = np.unique(known)
    n_bins = max(2, min(_MAX_BINS, len(known) // 50))
    if len(edges) > n_bins:
        edges = np.unique(known[np.linspace(0, len(known) - 1, n_bins).astype(np.intp)])
    codes = np.searchsorted(edges, numbers, side="right").astype(np.int64)
    codes[np.isnan(numbers)] = len(edges) + 1
    return codes, len(edges) + 2


def _useless(
    name: str, values: pa.ChunkedArray, first: pa.ChunkedArray, *, is_hidden: bool
) -> Leak | None:
    """Find a column without use by a sample; a counter by consecutive rows."""
    n_known = len(values) - values.null_count
    n_different = int(pc.count_distinct(values, mode="only_valid").as_py())
    if n_different <= 1 and values.null_count in (0, len(values)):
        held = values.drop_null().slice(0, 1).to_pylist()
        only = examples(map(hashed, held) if is_hidden else held)
        reason = f"always {only}" if n_different else "no value in any row"
        return Leak((name,), "constant", 1.0, reason)
    if n_known < _LEAST_VALUES or n_different < NEARLY_ALL * n_known:
        return None
    if is_number(values.type):
        if not _is_counter(_as_floats(first)):
            return None  # measures are all different as well
        reason = "counts the rows, one by one"
    elif pa.types.is_temporal(values.type):
        return None
    else:
        reason = f"{n_different:,} different values in {n_known:,} rows: it identifies rows"
    return Leak((name,), "id", n_different / n_known, reason)


def _is_counter(numbers: Floats) -> bool:
    steps = np.diff(numbers)
    return len(steps) > 0 and bool(np.isin(steps, (1.0, -1.0)).mean() >= NEARLY_ALL)


def _halves(columns: Sequence[_Seen], y: Codes) -> npt.NDArray[np.bool_]:
    """Return which half each row is in, by the content of its features."""
    content = np.zeros(len(y), np.uint64)
    for number, column in enumerate(columns, start=1):
        bits = (
            column.codes.astype(np.uint64)
            if column.numbers is None
            else (column.numbers + 0.0).view(np.uint64)
        )
        content += splitmix64(bits ^ splitmix64(np.full(1, number, np.uint64)))
    if len(np.unique(content)) < min(_MAX_BINS, len(y) // 2):
        # So few different rows would leave whole categories in one half.
        content = np.arange(len(y), dtype=np.uint64)
    return splitmix64(content) >> np.uint64(63) == 0


def _of_classes(columns: Sequence[_Seen], target: _Seen, name: str) -> list[Leak]:
    y, half = target.codes, _halves(columns, target.codes)
    found: list[Leak] = []
    for column in columns:
        right, base = _n_right(column, y, half), _n_right(_same(column), y, half)
        if base == len(y) or (gain := (right - base) / (len(y) - base)) < PREDICTS:
            continue
        pairs = len(np.unique(column.codes * target.n_codes + y))
        if pairs == len(np.unique(column.codes)) == len(np.unique(y)):
            reason = f"renames the classes of {name}{_renamed(column, target)}"
            found.append(Leak((column.name,), "copy", gain, reason))
            continue
        reason = (
            f"predicts {name} by itself: right in {right / len(y):.2%} of rows it has not seen, "
            f"where the most frequent class is right in {base / len(y):.2%}"
        )
        found.append(Leak((column.name,), "predicts", gain, reason))
    return found


def _same(column: _Seen) -> _Seen:
    return _Seen(column.name, np.zeros_like(column.codes), 1, None)


def _n_right(column: _Seen, y: Codes, half: npt.NDArray[np.bool_]) -> int:
    """Count the rows whose class is their category's most frequent one in the other half."""
    n_classes = int(y.max()) + 1
    n_right = 0
    for learns in (half, ~half):
        if not learns.any() or learns.all():
            continue
        pairs, counts = np.unique(column.codes[learns] * n_classes + y[learns], return_counts=True)
        best = np.lexsort((-pairs, counts))  # the last one of a category wins
        guess = np.full(column.n_codes, np.bincount(y[learns]).argmax())
        guess[pairs[best] // n_classes] = pairs[best] % n_classes
        n_right += int((guess[column.codes[~learns]] == y[~learns]).sum())
    return n_right


def _renamed(column: _Seen, target: _Seen) -> str:
    if not column.words:
        return ""
    _, rows = np.unique(column.codes, return_index=True)
    words = dict(enumerate(column.words))
    shown = [
        f"{words.get(int(column.codes[row]), 'null')!r} is {target.words[target.codes[row]]!r}"
        for row in rows[:3]
        if target.codes[row] < len(target.words)
    ]
    return f": {', '.join(shown)}{', …' if len(rows) > 3 else ''}"


def _of_numbers(columns: Sequence[_Seen], y: Floats, name: str) -> tuple[list[Leak], list[Leak]]:
    if len(y) < _LEAST_ROWS or y.std() == 0:
        return [], []
    numbers = {c.name: c.numbers for c in columns if c.numbers is not None}
    formulas = find_formulas(name, y, numbers)
    found: dict[str, Leak] = {}
    for formula in formulas:
        members = tuple(formula.weights)
        text = f"{formula}{', exactly' if formula.is_exact else ', all but rounded'}"
        for member in members[:1]:
            kind: LeakKind = "copy" if len(members) == 1 else "formula"
            found[member] = Leak(members, kind, formula.r2, text)
    in_formula = {member for formula in formulas for member in formula.weights}
    half = _halves(columns, np.zeros(len(y), np.int64))
    order = np.argsort(np.argsort(y, kind="stable"), kind="stable").astype(np.float64)
    ranks = _tied(y, order)
    for column in columns:
        if column.name in in_formula:
            continue
        if column.numbers is not None and _rises_with(column.numbers, y):
            reason = f"{name} rises or falls whenever it does: the same in another unit"
            found[column.name] = Leak((column.name,), "copy", 1.0, reason)
            continue
        score = max(_r2(column, y, half), _r2(column, ranks, half), _linear_r2(column, y))
        if score >= PREDICTS:
            reason = (
                f"predicts {name} by itself: it explains {score:.2%} of its variance in rows it "
                "has not seen"
            )
            found[column.name] = Leak((column.name,), "predicts", score, reason)
    alone = [leak for leak in found.values() if leak.kind != "formula"]
    return alone, [leak for leak in found.values() if leak.kind == "formula"]


def _tied(y: Floats, order: Floats) -> Floats:
    """Return ranks where equal values have equal ones."""
    _, group = np.unique(y, return_inverse=True)
    return (np.bincount(group, order) / np.bincount(group))[group]


def _r2(column: _Seen, y: Floats, half: npt.NDArray[np.bool_]) -> float:
    """Return R² of the mean of each category in the other half of the rows."""
    missed = total = 0.0
    for learns in (half, ~half):
        if not learns.any() or learns.all():
            continue
        codes, mean = column.codes[learns], float(y[learns].mean())
        n_rows = np.bincount(codes, minlength=column.n_codes)
        sums = np.bincount(codes, y[learns], minlength=column.n_codes)
        guess = np.where(n_rows > 0, sums / np.maximum(n_rows, 1), mean)
        missed += float(((y[~learns] - guess[column.codes[~learns]]) ** 2).sum())
        total += float(((y[~learns] - mean) ** 2).sum())
    return 1.0 - missed / total if total > 0 else 0.0


def _linear_r2(column: _Seen, y: Floats) -> float:
    if column.numbers is None or not np.isfinite(column.numbers).all():
        return 0.0
    x = column.numbers - column.numbers.mean()
    z = y - y.mean()
    spread = float(np.sqrt((x @ x) * (z @ z)))
    return (float(x @ z) / spread) ** 2 if spread > 0 else 0.0


def _rises_with(x: Floats, y: Floats) -> bool:
    """Report whether one order sorts both; coarse columns, which sort next to nothing, do not."""
    known = np.isfinite(x)
    x, y = x[known], y[known]
    if len(x) < _LEAST_ROWS or known.mean() < 0.5:
        return False
    n_different = len(np.unique(y))
    if n_different < _LEAST_VALUES or len(np.unique(x)) < 0.5 * n_different:
        return False
    few = slice(None, None, max(1, len(x) // _MAX_BINS))
    return _is_sorted_by(x[few], y[few]) and _is_sorted_by(x, y)


def _is_sorted_by(x: Floats, y: Floats) -> bool:
    upward, downward = y[np.lexsort((y, x))], y[np.lexsort((-y, x))]
    return bool((np.diff(upward) >= 0).all() or (np.diff(downward) <= 0).all())
