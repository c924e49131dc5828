"""Quarantined rows: which, why, and how they are written; and what a check says of a stream."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline_lib.config.validation import QuarantineBudget
from pipeline_lib.data.contract.repeats import Repeats
from pipeline_lib.errors import QuarantineBudgetError, Violation
from pipeline_lib.storage.json_files import Json
from pipeline_lib.wording import examples, rows_that

ROW_COLUMN, RULES_COLUMN = "evergreen_row", "evergreen_rules"


def _no_rows() -> npt.NDArray[np.int64]:
    return np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class ContractReport:
    """What a stream of rows that may be trained on was like.

    Attributes:
        n_rows: all rows, quarantined ones included.
        violations: rules of severity `quarantine` and `warn` that rows break.
        extra_columns: columns of the source that the config does not name.
        quarantined_rows: positions in the stream from 0, ascending, shape ``(n_quarantined,)``.
        quarantined_rules: the names of the rules that each of them breaks.
        zones: the time zones of columns of times that have one.
        zone_notes: what a person should know of them, a sentence each.
        repeats: how often rows repeat; None where a `data.key` identifies them.
        dropped_rows: positions of the rows that one copy of the table has no use for, ascending,
            shape ``(n_dropped,)``; they are in no quarantine and no budget.
    """

    source: str
    n_rows: int
    violations: tuple[Violation, ...]
    extra_columns: tuple[str, ...]
    quarantined_rows: npt.NDArray[np.int64]
    quarantined_rules: tuple[tuple[str, ...], ...]
    zones: Mapping[str, str] = field(default_factory=dict[str, str])
    zone_notes: tuple[str, ...] = ()
    repeats: Repeats | None = None
    dropped_rows: npt.NDArray[np.int64] = field(default_factory=_no_rows)

    @property
    def n_quarantined(self) -> int:
        """The number of quarantined rows."""
        return len(self.quarantined_rows)

    @property
    def n_used(self) -> int:
        """The number of rows that may be trained on."""
        return self.n_rows - self.n_quarantined - len(self.dropped_rows)

    @property
    def unused_rows(self) -> npt.NDArray[np.int64]:
        """Positions of the rows that are in quarantine or dropped, ascending."""
        if not len(self.dropped_rows):
            return self.quarantined_rows
        return np.union1d(self.quarantined_rows, self.dropped_rows)

    def mask(self, first_row: int, n_rows: int) -> npt.NDArray[np.bool_]:
        """Return which rows of a batch that begins at `first_row` are in quarantine or dropped."""
        mask = np.zeros(n_rows, np.bool_)
        for rows in (self.quarantined_rows, self.dropped_rows):
            mask[rows[_within(rows, first_row, n_rows)] - first_row] = True
        return mask

    def kept(self, batch: pa.Table, first_row: int) -> pa.Table:
        """Return the rows of a batch that may be trained on."""
        mask = self.mask(first_row, batch.num_rows)
        return batch.filter(pa.array(~mask)) if mask.any() else batch

    def quarantined(self, raw_batch: pa.Table, first_row: int) -> pa.Table:
        """Return the rows of a raw batch that are quarantined, as `quarantine_table` makes them."""
        span = _within(self.quarantined_rows, first_row, raw_batch.num_rows)
        rows = self.quarantined_rows[span]
        mine = raw_batch.take(pa.array(rows - first_row))
        return quarantine_table(mine, rows, self.quarantined_rules[span])

    def to_json(self) -> dict[str, Json]:
        """Return counts, violations and extra columns; not the rows."""
        return {
            "source": self.source,
            "n_rows": self.n_rows,
            "n_quarantined": self.n_quarantined,
            "violations": [_violation_json(violation) for violation in self.violations],
            "extra_columns": list(self.extra_columns),
            **({"time_zones": dict(self.zones)} if self.zones else {}),
            **({"notes": list(self.zone_notes)} if self.zone_notes else {}),
        }

    def lines(self) -> list[str]:
        """Return what a person should know of rows that did not stop the run, a line each."""
        lines = [f"{violation.severity}: {violation}" for violation in self.violations]
        lines += self.zone_notes
        if self.extra_columns:
            n = len(self.extra_columns)
            lines.append(
                f"{n} {'column' if n == 1 else 'columns'} that the config does not name: "
                f"{examples(self.extra_columns)}"
            )
        if self.repeats is not None and self.repeats.is_copied:
            n_dropped = len(self.dropped_rows)
            rest = f"; {rows_that(n_dropped, 'are dropped')}, one copy is used" if n_dropped else ""
            lines.append(f"duplicates: {self.repeats.copies_sentence()}{rest}")
        elif self.repeats is not None and (note := self.repeats.note()) is not None:
            lines.append(note)
        return lines


def _violation_json(violation: Violation) -> dict[str, Json]:
    facts: dict[str, Json] = {**asdict(violation), "examples": list(violation.examples)}
    return {key: value for key, value in facts.items() if key != "change"}


def _within(rows: npt.NDArray[np.int64], first_row: int, n_rows: int) -> slice:
    low, high = np.searchsorted(rows, [first_row, first_row + n_rows])
    return slice(int(low), int(high))


def quarantine_table(
    raw_rows: pa.Table,
    row_numbers: npt.NDArray[np.int64],
    rules_by_row: Sequence[Sequence[str]],
) -> pa.Table:
    """Return quarantined rows as they came, with their places and the rules that they break.

    Args:
        raw_rows: these rows alone, all columns of the source.
        row_numbers: their positions in the snapshot from 0, shape ``(n_rows,)``.
        rules_by_row: the names of the rules that each breaks.

    Returns:
        The raw columns, `evergreen_row` (from 1) and `evergreen_rules` (joined by "; "); the
        added names end in underscores where the source has columns called so.
    """
    rules = pa.array(["; ".join(names) for names in rules_by_row], pa.string())
    numbers = pa.array(np.asarray(row_numbers, np.int64) + 1)
    table = raw_rows
    for name, values in ((ROW_COLUMN, numbers), (RULES_COLUMN, rules)):
        table = table.append_column(_free(name, raw_rows), values)
    return table


def check_budget(
    n_quarantined: int,
    n_rows: int,
    budget: QuarantineBudget,
    violations: Sequence[Violation],
    *,
    source: str,
) -> None:
    """Refuse to quarantine more rows than the budget allows.

    Raises:
        QuarantineBudgetError: with the counts, the setting and the most frequent rules.
    """
    over = [
        f"validation.quarantine.{setting}"
        for setting, is_over in (
            (f"max_rows: {budget.max_rows}", n_quarantined > budget.max_rows),
            (
                f"max_percent: {budget.max_percent:g}",
                n_quarantined * 100 > budget.max_percent * n_rows,
            ),
        )
        if is_over
    ]
    if over:
        raise QuarantineBudgetError(
            n_quarantined, n_rows, violations, budget=over[0], source=source
        )


def _free(name: str, table: pa.Table) -> str:
    while name in table.column_names:
        name += "_"
    return name
