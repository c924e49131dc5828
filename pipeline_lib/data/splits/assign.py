"""Who lands in train, val and test.

The hash split looks at nothing but the row itself: its key columns where the config names some,
else its features. The label does not count, so a corrected label does not move a row, and two
rows with equal features never stand on both sides. A group split goes by the columns of a group
in the same way. Both keep every row where it is, for ever, whatever rows come to the table.

The stratified split orders the rows of each class by the same hash and cuts where the shares say,
to one row; of a class with three rows each split has one. A regression's classes are ten bins with
equally many rows of the target. Equal rows stay together, so many of them may shift a border.
A table that grows by 10 % moves rows near a border: 0.6 % of those of a class with 1,000 rows,
0.2 % with 10,000, 0.05 % with 100,000; of a regression, whose bins move too, 3 %, 0.7 % and 0.2 %
(means of 40 random tables with val and test 0.15 each).

The time split goes by `data.time`, and a predefined one by a column that names splits; a length
counted back from the newest row moves with it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline_lib.config.data import DataSettings
from pipeline_lib.config.splits import Split
from pipeline_lib.data.arrow import BATCH_ROWS, different, one_array
from pipeline_lib.data.splits.rules import SPLITS, UNUSED, Codes, SplitName, make_rule
from pipeline_lib.errors import ContractError, Violation
from pipeline_lib.wording import MAX_EXAMPLES, examples

__all__ = ["SPLITS", "UNUSED", "Assignment", "SplitAssigner", "SplitName", "assign_splits"]

# Fewer rows of a class than this say nothing of it.
_FEW_ROWS = 3


@dataclass(frozen=True)
class Assignment:
    """The split of every row; `warnings` are sentences for a person.

    Shape:
        splits: ``(n_rows,)`` int8, positions in `SPLITS`; −1 for rows that no split uses.
    """

    splits: npt.NDArray[np.int8]
    counts: dict[SplitName, int]
    warnings: tuple[str, ...]

    @property
    def n_unused(self) -> int:
        """The number of rows that are in no split."""
        return len(self.splits) - sum(self.counts.values())


class SplitAssigner:
    """Gives the split of rows that come in batches; where a batch ends does not count.

    It keeps 2 to 12 bytes a row, 1 more where rows have weights, and while it finishes a stratified
    split 8 more for each row of the largest class.
    """

    def __init__(
        self,
        split: Split,
        *,
        by: Sequence[str],
        data: DataSettings,
        zone: str | None = None,
        hidden: Collection[str] = frozenset(),
    ) -> None:
        """Prepare for the rows of one table.

        Args:
            split: the kind of split.
            by: the columns whose values are hashed; their order does not count.
            data: target, weight, task and time.
            zone: where days begin at midnight; UTC without it.
            hidden: columns whose values are quoted as hashes.
        """
        self._data = data
        self._rule = make_rule(split, by, data, zone=zone, hidden=hidden)
        self._classes = None if data.task == "regression" else _Classes(data.target)
        self._counts: list[npt.NDArray[np.bool_]] = []  # whether a row's weight is above 0

    def add(self, batch: pa.Table) -> None:
        """Look at the next rows; their order counts.

        Args:
            batch: typed rows with the target, the weight if there is one, and every column that
                the split goes by.
        """
        if self._data.weight is not None:
            self._counts.append(batch[self._data.weight].to_numpy() > 0)
        self._rule.add(batch, self._classes.add(batch) if self._classes else None)

    def finish(self) -> Assignment:
        """Return where the rows are.

        Raises:
            ContractError: a split is empty or none of its rows has a weight above 0, or rows have
                no time to be split by.
        """
        placed = self._rule.finish()
        splits = np.concatenate(placed) if placed else np.empty(0, np.int8)
        n_rows: list[int] = [int(np.count_nonzero(splits == n)) for n in range(len(SPLITS))]
        if empty := [name for name, n in zip(SPLITS, n_rows, strict=True) if n == 0]:
            message = f"no row falls into {' and '.join(empty)}: {self._rule.reason()}"
            raise ContractError([Violation(self._rule.column, "split", len(splits), message)])
        self._refuse_weightless(splits)
        warnings = self._rule.warnings()
        if self._classes:
            warnings += self._classes.warnings(splits)
        return Assignment(splits, dict(zip(SPLITS, n_rows, strict=True)), tuple(warnings))

    def _refuse_weightless(self, splits: npt.NDArray[np.int8]) -> None:
        if not self._counts:
            return
        held = set(splits[np.concatenate(self._counts)].tolist())
        if empty := [name for number, name in enumerate(SPLITS) if number not in held]:
            message = (
                f"no row of {' and '.join(empty)} has a weight above 0, so none would count. Give "
                "some a weight in the source, or split otherwise (`split`)"
            )
            weight = str(self._data.weight)
            raise ContractError([Violation(weight, "weight", len(splits), message)])


def assign_splits(
    table: pa.Table,
    by: Sequence[str],
    split: Split,
    *,
    data: DataSettings | None = None,
    zone: str | None = None,
) -> npt.NDArray[np.int8]:
    """Return the split of each row of a table in memory.

    Args:
        table: typed rows.
        by: the columns whose values decide; their order does not count.
        split: its kind, shares, seed.
        data: target, task and time. Without it a split may be empty, and the kind is one that
            needs none: hash, group or predefined.
        zone: where days begin at midnight; UTC without it.

    Returns:
        Positions in `SPLITS`, shape ``(n_rows,)``; −1 for rows that no split uses.

    Raises:
        ContractError: a split is empty, or rows have no time to be split by.
    """
    batches = (
        pa.Table.from_batches([batch]) for batch in table.to_batches(max_chunksize=BATCH_ROWS)
    )
    if data is not None:
        assigner = SplitAssigner(split, by=by, data=data, zone=zone)
        for batch in batches:
            assigner.add(batch)
        return assigner.finish().splits
    rule = make_rule(split, by, None)
    for batch in batches:
        rule.add(batch, None)
    return np.concatenate([np.empty(0, np.int8), *rule.finish()])


class _Classes:
    """The class of each row as a small integer, a byte a row for up to 256 classes."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._code_of: dict[str | None, int] = {}
        self._codes: list[Codes] = []

    def add(self, batch: pa.Table) -> Codes:
        found, places = different(one_array(batch[self._target]).cast(pa.string()))
        words: list[str | None] = found.to_pylist()
        if len(words) in places:
            words.append(None)
        codes = [self._code_of.setdefault(word, len(self._code_of)) for word in words]
        dtype = np.min_scalar_type(max(len(self._code_of) - 1, 0))
        self._codes.append(np.array(codes, dtype)[places])
        return self._codes[-1]

    def warnings(self, splits: npt.NDArray[np.int8]) -> list[str]:
        """Name the classes that a split hardly has.

        That is fewer than 3 rows, or fewer than a quarter of the split's share of the rows.
        """
        counts = self._counts(splits)
        of_class, share = counts.sum(axis=1), counts.sum(axis=0) / max(counts.sum(), 1)
        least = np.maximum(_FEW_ROWS, np.outer(of_class, share) / 4)
        poor = (counts < least) & (of_class > 0)[:, None]
        order = np.argsort(of_class, kind="stable")
        rare: list[int] = [code for code in order.tolist() if poor[code].any()]
        words = list(self._code_of)
        found: list[str] = []
        for code in rare[:MAX_EXAMPLES]:
            has = [
                f"{counts[code, n]} of its {of_class[code]} rows in {SPLITS[n]}"
                for n in np.flatnonzero(poor[code])
            ]
            found.append(f"class {examples([words[code]])} has {' and '.join(has)}")
        if len(rare) > MAX_EXAMPLES:
            found.append(f"{len(rare) - MAX_EXAMPLES} more classes have few rows in a split")
        return found

    def _counts(self, splits: npt.NDArray[np.int8]) -> npt.NDArray[np.int64]:
        """Return the rows per class and split, shape ``(n_classes, 3)``."""
        width, first = len(SPLITS) + 1, 0
        counts = np.zeros((len(self._code_of), width), np.int64)
        for codes in self._codes:
            mine = splits[first : first + len(codes)]
            first += len(codes)
            cells = codes.astype(np.int64) * width + np.where(mine == UNUSED, len(SPLITS), mine)
            counts += np.bincount(cells, minlength=counts.size).reshape(counts.shape)
        return counts[:, : len(SPLITS)]
