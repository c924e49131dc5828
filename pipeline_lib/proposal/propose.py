"""From a table and the name of its target to everything a config says of the data.

Nothing is decided that the table does not show; what a person has to judge becomes a note.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.config.columns import CategoryColumn, Column, DatetimeColumn, HashColumn
from pipeline_lib.config.data import DataSettings
from pipeline_lib.config.sources import CsvFile, Source
from pipeline_lib.data.sources.stream import LEFT_OUT
from pipeline_lib.errors import DataError, UsageError
from pipeline_lib.monitoring.leakage import MAX_ROWS, Leak, find_leaks
from pipeline_lib.proposal.column_facts import ColumnFacts, TidyTable, facts_of, tidied
from pipeline_lib.proposal.columns import (
    ID_NAMES,
    ProposedColumn,
    propose_column,
    written_numbers,
)
from pipeline_lib.proposal.target import ProposedTarget, propose_target
from pipeline_lib.wording import did_you_mean, examples, rows_that

_TIME_NAMES = frozenset({"time", "timestamp", "date", "day", "created", "when", "at", "datetime"})
_MAX_ALIKE = 1_000


@dataclass(frozen=True)
class Proposal:
    """What a table's config could say.

    Attributes:
        name: of the dataset.
        data: source, target, task, classes, key and time.
        target: the task and what was seen of the target.
        columns: all columns but the target, in the table's order, left-out ones too.
        leaks: why columns were left out that know the target.
        counter: a counter that could be the key if it stays with its row.
        n_rows: how many rows were looked at.
        notes: what a person should look at.
    """

    name: str
    data: DataSettings
    target: ProposedTarget
    columns: tuple[ProposedColumn, ...]
    leaks: tuple[Leak, ...]
    counter: str | None
    n_rows: int
    notes: tuple[str, ...]

    @property
    def features(self) -> dict[str, Column]:
        """The proposed features."""
        return {c.name: c.column for c in self.columns if c.is_feature and c.column is not None}

    @property
    def left_out(self) -> tuple[ProposedColumn, ...]:
        """The columns that are no features."""
        return tuple(c for c in self.columns if not c.is_feature)

    @property
    def time(self) -> ProposedColumn | None:
        """The column that says when a row came to be."""
        return next((c for c in self.columns if c.name == self.data.time), None)


def propose(
    table: pa.Table, source: Source, target: str, *, name: str, notes: Sequence[str] = ()
) -> Proposal:
    """Propose a config for a table.

    Args:
        table: rows as the source gives them without `trim` and with "" alone as null.
        source: how they were read; `trim` and `null_values` are found here.
        target: the column to predict.
        name: of the dataset.
        notes: what is known already that a person should look at.

    Raises:
        UsageError: there is no such column.
        DataError: the target cannot be learned, or no column is left to learn from.
    """
    remarks = list(notes)
    if isinstance(source, CsvFile):
        tidy = tidied(table, target)
        table, source = tidy.table, _with_findings(source, tidy)
        remarks += _of_null_words(tidy)
    _require_target(table, target, remarks)
    facts = {f.name: f for f in facts_of(table)}
    goal = propose_target(facts[target])
    columns = [propose_column(f) for f in facts.values() if f.name != target]
    leaks = _leaks(facts, columns, target, goal)
    columns = _without_leaks(columns, leaks)
    if not any(c.is_feature for c in columns):
        raise DataError(_nothing_left(columns, target))
    remarks += [c.note for c in columns if c.note is not None]
    remarks += _alike(facts, columns)
    if goal.aside:
        remarks.append(f"{target}: {goal.aside}; they go into quarantine (`data.severity`)")
    if goal.classes is not None and (rare := _rarest(facts[target], goal.classes)) < 20:
        remarks.append(
            f"{target}: the rarest class has {rows_that(rare)}; its figures will be rough"
        )
    time = _time(facts, columns)
    data = DataSettings(
        source=source,
        target=target,
        task=goal.task,
        classes=goal.classes,
        target_scale="auto" if goal.skew else "linear",
        severity="quarantine" if goal.aside else "stop",
        key=_key(facts, columns),
        time=None if time is None else time.name,
        time_format=time.dates.form if time is not None and time.dates is not None else None,
    )
    columns += _not_read(table)
    counter = next((c.name for c in columns if c.part == "counter" and c.is_unique), None)
    return Proposal(
        name,
        data,
        goal,
        tuple(columns),
        leaks,
        counter,
        table.num_rows,
        tuple(dict.fromkeys(remarks)),
    )


def _not_read(table: pa.Table) -> list[ProposedColumn]:
    """Return the columns that the source has and does not read: they hold no single values."""
    left_out = json.loads((table.schema.metadata or {}).get(LEFT_OUT, b"{}"))
    return [
        ProposedColumn(name, None, "unreadable", f"has the type {kind}, which is not read")
        for name, kind in left_out.items()
    ]


def _with_findings(source: CsvFile, tidy: TidyTable) -> CsvFile:
    found: dict[str, object] = {}
    if tidy.null_words:
        found["null_values"] = ("", *tidy.null_words)
    if tidy.trim:
        found["trim"] = True
    return CsvFile.model_validate(source.model_dump(exclude_unset=True) | found)


def _of_null_words(tidy: TidyTable) -> list[str]:
    notes: list[str] = []
    for word, names in tidy.where.items():
        n_more = len(names) - 3
        listed = ", ".join(names[:3]) + (f" and {n_more} more" if n_more > 0 else "")
        notes.append(f"{word!r} counts as no value, in {listed}")
    return notes


def _require_target(table: pa.Table, target: str, notes: Sequence[str]) -> None:
    if target not in table.column_names:
        near = did_you_mean(target, table.column_names)
        listed = f". Its columns: {examples(table.column_names)}"
        headless = next((f". And {note}" for note in notes if "first line" in note), "")
        raise UsageError(f"the table has no column {target!r}{near or listed}{headless}")
    if table.num_columns == 1:
        raise DataError(
            f"the table has no column but {target!r}: there is nothing to learn it from"
        )


def _leaks(
    facts: dict[str, ColumnFacts],
    columns: Sequence[ProposedColumn],
    target: str,
    goal: ProposedTarget,
) -> tuple[Leak, ...]:
    """Compare all columns that could be read with the target, left-out ones too."""
    n_rows = facts[target].n_rows
    rows = np.arange(n_rows)
    if n_rows > MAX_ROWS:
        rows = np.sort(np.random.default_rng(0).choice(n_rows, MAX_ROWS, replace=False))
    taken = pa.array(rows)
    typed = {
        c.name: values
        for c in columns
        if c.part not in ("constant", "empty", "id", "counter")
        and (values := _comparable(facts[c.name], c, taken)) is not None
    }
    if goal.task == "regression":
        y = pa.array(facts[target].numbers[rows])  # pyright: ignore[reportOptionalSubscript]
    else:
        y = facts[target].values.take(taken).cast(pa.string())
    table = pa.table(typed | {target: y})
    found = find_leaks(table, list(typed), target, goal.task)
    return tuple(leak for leak in found if leak.kind in ("predicts", "formula", "copy"))


def _comparable(
    facts: ColumnFacts, column: ProposedColumn, rows: pa.Array
) -> "pa.Array | pa.ChunkedArray | None":
    if isinstance(column.column, DatetimeColumn) or column.column is None:
        return None
    if facts.numbers is not None and not isinstance(column.column, CategoryColumn | HashColumn):
        return pa.array(facts.numbers).take(rows)
    values = facts.values.take(rows)
    if written_numbers(facts) is not None:
        plain = pc.replace_substring_regex(values, pattern=r"[^\d.+-]", replacement="")
        try:
            return plain.cast(pa.float64())
        except pa.ArrowInvalid:
            pass
    return values.cast(pa.string())


def _without_leaks(
    columns: Sequence[ProposedColumn], leaks: Sequence[Leak]
) -> list[ProposedColumn]:
    reasons: dict[str, str] = {}
    for leak in leaks:
        for name in leak.columns:
            reasons[name] = f"leaks: {leak.reason}"
    return [c.left_out("leak", reasons[c.name]) if c.name in reasons else c for c in columns]


def _nothing_left(columns: Sequence[ProposedColumn], target: str) -> str:
    shown = "; ".join(f"{c.name}: {c.reason}" for c in columns[:5])
    more = f"; and {len(columns) - 5} more" if len(columns) > 5 else ""
    return f"no column is left to learn {target!r} from: {shown}{more}"


def _alike(facts: dict[str, ColumnFacts], columns: Sequence[ProposedColumn]) -> list[str]:
    """Name features of few values that are each other's words.

    Values that hardly come twice say nothing: of any two such columns one names the other.
    """
    few = [
        facts[c.name]
        for c in columns
        if c.is_feature
        and 2 <= facts[c.name].n_different <= min(_MAX_ALIKE, facts[c.name].n_known // 2)
        and c.dates is None
    ]
    notes: list[str] = []
    codes = {f.name: _codes(f) for f in few}
    for number, first in enumerate(few):
        for second in few[number + 1 :]:
            if (n := first.n_different) != second.n_different or first.n_known != second.n_known:
                continue
            pairs = np.unique(codes[first.name] * (_MAX_ALIKE + 2) + codes[second.name])
            if len(pairs) == n + (first.n_known < first.n_rows):
                notes.append(f"{first.name} and {second.name} have the same values in other words")
    return notes


def _codes(facts: ColumnFacts) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    encoded = facts.values.combine_chunks().dictionary_encode()
    return encoded.indices.cast(pa.int64()).fill_null(_MAX_ALIKE + 1).to_numpy(zero_copy_only=False)


def _rarest(facts: ColumnFacts, classes: Sequence[str]) -> int:
    counts = zip(facts.words.to_pylist(), facts.counted[1].tolist(), strict=True)
    return min(int(n_rows) for word, n_rows in counts if word in classes)


def _key(facts: dict[str, ColumnFacts], columns: Sequence[ProposedColumn]) -> tuple[str, ...]:
    """Return the column that names a row; a counter is none unless the config says so."""
    unique = [c.name for c in columns if c.part == "id" and c.is_unique]
    unique.sort(key=lambda name: not facts[name].has_name_part(ID_NAMES))
    return tuple(unique[:1])


def _time(
    facts: dict[str, ColumnFacts], columns: Sequence[ProposedColumn]
) -> ProposedColumn | None:
    times = [
        c
        for c in columns
        if c.dates is not None and facts[c.name].n_known == facts[c.name].n_rows and c.is_feature
    ]
    times.sort(key=lambda c: not facts[c.name].has_name_part(_TIME_NAMES))
    return times[0] if times else None
