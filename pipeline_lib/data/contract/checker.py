"""A stream of batches checked against every rule for rows to learn from: the config's contract.

How rows are read as declared is in `declared`, which setting a message names in `named_settings`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline_lib.config.columns import (
    Column,
    Severity,
)
from pipeline_lib.config.data import DataSettings
from pipeline_lib.config.validation import ValidationSettings
from pipeline_lib.data.contract.class_counts import ClassCounts
from pipeline_lib.data.contract.column_clocks import ColumnClocks
from pipeline_lib.data.contract.column_rules import (
    ColumnRules,
    hidden_columns,
    schema_of,
    without_value,
)
from pipeline_lib.data.contract.declared import (
    declared_columns,
    read_declared,
    require_columns,
    rules_in_order,
)
from pipeline_lib.data.contract.named_settings import NamedSettings
from pipeline_lib.data.contract.quarantine import ContractReport, check_budget
from pipeline_lib.data.contract.repeats import Repeats, RowCounts
from pipeline_lib.data.contract.row_rules import compile_rules, example_rows
from pipeline_lib.data.contract.unique_keys import KeyHashes, RepeatedKeys
from pipeline_lib.data.values.casts import ReadColumn
from pipeline_lib.data.values.violations import BrokenRows, BrokenRules, RowNumbers
from pipeline_lib.errors import (
    ContractError,
    SourceError,
    Violation,
)
from pipeline_lib.wording import rows_that

RawBatches = Callable[[], Iterable[pa.Table | pa.RecordBatch]]
_NO_LABEL = "a row without a label cannot be learned from: leave it out in the source"
_NO_TIME = "fill them in the source: `data.time` needs a value in every row"
_NO_WEIGHT = "nothing says how much such a row counts; 0 leaves it out"
_NO_KEY = "have no value and so no key: fill the key in the source, or set `validation.unique_key`"


@dataclass(frozen=True, eq=False)
class CheckedBatch:
    """A batch with its declared types, as long as it came.

    Attributes:
        typed: key, time, features and target; null where a value cannot be read.
        quarantined: the quarantined rows so far, shape ``(n_rows,)``; repeated keys are known
            only when the stream ends.
    """

    typed: pa.Table
    quarantined: npt.NDArray[np.bool_]


class ContractChecker:
    """Holds a stream of batches to the contract: `check` each, then `finish`.

    What it says does not depend on where batches end, functions of `validation.rules` that look
    at other rows than their own excepted.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        data: DataSettings,
        validation: ValidationSettings,
        *,
        source: str,
        root: Path = Path(),
        required: Sequence[str] = (),
        place: Callable[[Sequence[str | int]], str] | None = None,
    ) -> None:
        """Make the rules ready; nothing is read.

        Args:
            columns: the features by name.
            data: target, weight, key and time.
            validation: rules and budgets.
            source: what messages call the rows.
            root: the project's folder, where functions of rules are looked for first.
            required: other columns that must be there, as those a split goes by.
            place: where the config's file has nested keys, as `configs/x.yaml:18`.

        Raises:
            ConfigError: a rule, a datetime's format or one of its bounds is wrong.
        """
        self._data, self._validation, self._source = data, validation, source
        self._settings = NamedSettings(columns, data, place)
        self._columns, self._declared = columns, declared_columns(columns, data)
        self._severity = self._severities(columns)
        self._required = list(dict.fromkeys([*self._declared, *required]))
        self._column_rules = self._rules_of_columns(columns)
        hidden = hidden_columns(self._declared) | set(data.private)
        self._row_rules = compile_rules(
            validation.rules, schema_of(self._declared), root=root, hidden=hidden, place=place
        )
        self._key = list(dict.fromkeys(data.key))
        self._key_name = ", ".join(self._key)
        order = rules_in_order([*self._declared, self._key_name])
        order += [("", rule.name) for rule in validation.rules]
        self._findings = BrokenRules(order, hidden=hidden)
        self._keys, self._classes = KeyHashes(self._key), ClassCounts()
        # With a key two rows are different ones, or `unique_key` says what happens.
        self._counts = None if self._key else RowCounts(list(self._declared))
        self._quarantined: list[RowNumbers] = []
        self._n_rows = self._n_quarantined = 0
        self._is_weighted = data.weight is None
        self._extra_columns: tuple[str, ...] = ()
        self._clocks = ColumnClocks(self._declared, columns)

    def check(self, batch: pa.Table | pa.RecordBatch) -> CheckedBatch:
        """Type a batch and note what its rows break.

        Raises:
            MissingColumnError: a column is not there.
            ContractError: a column stands twice, or has a type that its kind cannot have.
            RuleError: a rule fails or returns something else than a boolean per row.
        """
        require_columns(
            batch,
            self._required,
            source=self._source,
            named=self._settings.naming if self._settings.place else None,
        )
        present: list[str] = batch.schema.names
        self._extra_columns = tuple(name for name in present if name not in self._required)
        read = read_declared(batch, self._declared, source=self._source)
        typed = pa.table({name: column.values for name, column in read.items()})
        self._clocks.add(batch.schema, read)
        aside = np.zeros(batch.num_rows, np.bool_)
        for column, severity, broken in self._broken_rows(read, typed):
            if severity == "quarantine":
                aside[broken.rows] = True
            # Beyond the budget the run stops anyway: then which rows it was is of no use.
            keep = severity == "quarantine" and not self._is_over_budget
            self._findings.add(column, severity, broken, first_row=self._n_rows, keep_rows=keep)
        self._take_in(typed, aside)
        return CheckedBatch(typed, aside)

    def finish(self, batches: RawBatches | None = None) -> ContractReport:
        """Say what the whole stream was like.

        Args:
            batches: the same raw rows once more; needed where there is a `data.key`, and read
                only where two keys may be equal.

        Raises:
            SourceError: there are fewer rows than `validation.min_rows`.
            ContractError: rows break a rule of severity `stop`, or classes are too poor.
            QuarantineBudgetError: more rows would be quarantined than the budget allows.
        """
        self._require_rows(self._n_rows)
        if self._key:
            assert batches is not None, "a key is compared with a second look at the rows"
            self._find_repeated_keys(batches)
        if stops := [*self._findings.violations(["stop"]), *self._clocks.violations()]:
            raise ContractError(self._settings.with_changes(stops), source=self._source)
        check_budget(
            self._n_quarantined,
            self._n_rows,
            self._validation.quarantine,
            self._settings.with_changes(self._findings.violations(["quarantine"])),
            source=self._source,
        )
        rows = np.concatenate([np.empty(0, np.int64), *self._quarantined])
        repeats = self._counts.repeats() if self._counts else None
        dropped = self._surplus(repeats, rows)
        self._require_rows(self._n_rows - self._n_quarantined - len(dropped))
        if not self._is_weighted:
            weight = str(self._data.weight)
            said = "no row has a weight above 0, so none would count; fill it in the source"
            raise ContractError(
                [Violation(weight, "weight", self._n_rows, said)], source=self._source
            )
        if self._data.task != "regression" and (
            poor := self._classes.violations(self._data, self._validation)
        ):
            raise ContractError(poor, source=self._source)
        return ContractReport(
            self._source,
            self._n_rows,
            self._findings.violations(["quarantine", "warn"]),
            self._extra_columns,
            rows,
            self._findings.names_by_row(rows),
            self._clocks.zones(),
            self._clocks.notes(),
            repeats,
            dropped,
        )

    @property
    def _is_over_budget(self) -> bool:
        return self._n_quarantined > self._validation.quarantine.max_rows

    def _severities(self, columns: Mapping[str, Column]) -> dict[str, Severity]:
        """Return what broken rows do: of features as they say, of keys as `unique_key` says."""
        severity: dict[str, Severity] = {}
        for name, column in self._declared.items():
            is_key = name in self._data.key and name not in columns
            severity[name] = self._validation.unique_key if is_key else column.severity
        return severity

    def _rules_of_columns(self, columns: Mapping[str, Column]) -> list[ColumnRules]:
        rules: list[ColumnRules] = []
        for name, column in self._declared.items():
            if name == self._data.target:
                rules.append(ColumnRules(name, column, _NO_LABEL))
            elif name in columns:
                rules.append(ColumnRules(name, column))
            elif name == self._data.weight:
                rules.append(ColumnRules(name, column, _NO_WEIGHT))
            elif name == self._data.time:
                rules.append(ColumnRules(name, column, _NO_TIME, "data.time_format"))
        return rules

    def _broken_rows(
        self, read: Mapping[str, ReadColumn], typed: pa.Table
    ) -> Iterator[tuple[str, Severity, BrokenRows]]:
        """Yield the rows of a batch that break a rule, with column and severity."""
        for name, column in read.items():
            severity = self._severity[name]
            for broken in column.broken:
                # What cannot be read cannot be used, whatever the severity says.
                yield name, "quarantine" if severity == "warn" else severity, broken
        for rules in self._column_rules:
            for broken in rules.broken_rows(read[rules.name]):
                yield rules.name, self._severity[rules.name], broken
        for name in self._key:
            for broken in without_value(read[name], "key", _NO_KEY):
                yield name, self._validation.unique_key, broken
        for rule in self._row_rules:
            for broken in rule.broken_rows(typed, first_row=self._n_rows):
                yield "", rule.severity, broken

    def _take_in(self, typed: pa.Table, aside: npt.NDArray[np.bool_]) -> None:
        """Count a batch: its rows, keys, classes, and what of it was quarantined."""
        rows = np.flatnonzero(aside)
        if len(rows):
            self._quarantined.append(rows + self._n_rows)
        if self._key:
            self._keys.add(typed)
        if self._counts is not None:
            self._counts.add(typed.filter(pa.array(~aside)) if len(rows) else typed)
        counts = self._counting(typed, ~aside)
        self._is_weighted = self._is_weighted or bool(counts.any())
        if self._data.task != "regression":
            labels = typed[self._data.target]
            self._classes.add(labels if counts.all() else labels.filter(pa.array(counts)))
        self._n_rows += typed.num_rows
        self._n_quarantined += len(rows)

    def _counting(self, rows: pa.Table, some: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Return which of some rows have a weight above 0, shape ``(n_rows,)``; all without one."""
        return (
            some if self._data.weight is None else some & (rows[self._data.weight].to_numpy() > 0)
        )

    def _find_repeated_keys(self, batches: RawBatches) -> None:
        data, more = self._data, [self._data.weight] if self._data.weight else []
        needed = {name: self._declared[name] for name in [*self._key, data.target, *more]}

        def typed_batches() -> Iterator[pa.Table]:
            for batch in batches():
                read = read_declared(batch, needed, source=self._source)
                yield pa.table({name: column.values for name, column in read.items()})

        repeated = self._keys.repeated(typed_batches)
        if repeated is None:
            return
        severity = self._validation.unique_key
        shown = example_rows(repeated.table.select(self._key), repeated.rows)
        before = "have a key that an earlier row has, such as "
        after = "; a key identifies one row: fix the source, or set `validation.unique_key`"
        broken = BrokenRows("unique", repeated.rows, shown, before, after)
        keep = severity == "quarantine"
        self._findings.add(self._key_name, severity, broken, first_row=0, keep_rows=keep)
        if keep:
            self._put_aside(repeated)

    def _surplus(self, repeats: Repeats | None, aside: RowNumbers) -> RowNumbers:
        """Return the rows to drop where the table is a copy of itself.

        Raises:
            ContractError: it is one, and `validation.duplicates` is `stop`.
        """
        nothing = np.empty(0, np.int64)
        if repeats is None or not repeats.is_copied:
            return nothing
        said = self._validation.duplicates
        if said == "stop":
            message = (
                f"{repeats.copies_sentence()}. Nothing was trained. Load the table once, or set "
                "`validation.duplicates: drop` to use one copy; `warn` if rows are meant to repeat"
            )
            raise ContractError(
                [Violation("", "duplicates", repeats.n_surplus, message)], source=self._source
            )
        if said == "warn" or self._counts is None:
            return nothing
        # What each class has is as many copies of it as the rows are.
        self._classes.divide(repeats.copies)
        kept = np.delete(np.arange(self._n_rows), aside)
        return kept[self._counts.surplus(repeats.copies)]

    def _put_aside(self, repeated: RepeatedKeys) -> None:
        before = np.concatenate([np.empty(0, np.int64), *self._quarantined])
        is_new = ~np.isin(repeated.rows, before)
        if self._data.task != "regression":
            counts = self._counting(repeated.table, is_new)
            self._classes.remove(repeated.table[self._data.target].filter(pa.array(counts)))
        self._quarantined = [np.union1d(before, repeated.rows)]
        self._n_quarantined += int(is_new.sum())

    def _require_rows(self, n_rows: int) -> None:
        least = self._validation.min_rows
        if n_rows < least:
            left = f" left of {self._n_rows}" if n_rows < self._n_rows else ""
            raise SourceError(
                f"{self._source} has {rows_that(n_rows)}{left}, fewer than `validation.min_rows` "
                f"({least})"
            )
