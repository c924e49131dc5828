"""How each kind of split decides: what it keeps of a row, and what it makes of that at the end.

A rule is fed batch by batch and keeps 1 to 12 bytes a row. That no split may be empty,
and what is said of classes, is decided in `splits`.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Literal, Protocol, assert_never

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline_lib.config.data import DataSettings
from pipeline_lib.config.splits import (
    GroupSplit,
    HashSplit,
    PredefinedSplit,
    Split,
    StratifiedSplit,
    TimeSplit,
)
from pipeline_lib.data.arrow import microseconds, one_array
from pipeline_lib.data.hashing import Hashes
from pipeline_lib.data.row_hashes import RowHasher
from pipeline_lib.data.values.zones import to_local, to_utc
from pipeline_lib.errors import ContractError, Violation
from pipeline_lib.shown import hashed
from pipeline_lib.wording import examples, rows_that

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
UNUSED = -1

Places = npt.NDArray[np.int8]
Codes = npt.NDArray[np.unsignedinteger]

_TRAIN, _VAL, _TEST = range(3)
_DAY_US = 86_400_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_N_BINS = 10
_MAX_GROUPS_COUNTED = 100
_MAX_WORDS_KEPT = 1000


class SplitRule(Protocol):
    """One kind of split at work; `column` is the one that messages name."""

    column: str

    def add(self, batch: pa.Table, classes: Codes | None) -> None:
        """Look at rows and, for a classification, the codes of their classes."""
        ...

    def finish(self) -> list[Places]:
        """Return the places of each batch's rows.

        Raises:
            ContractError: rows that no place can be found for.
        """
        ...

    def reason(self) -> str:
        """Return why a split may be empty, and what to do; after `finish`."""
        ...

    def warnings(self) -> list[str]:
        """Return what a person should know of rows that no split uses; after `finish`."""
        ...


def make_rule(
    split: Split,
    by: Sequence[str],
    data: DataSettings | None,
    *,
    zone: str | None = None,
    hidden: Collection[str] = frozenset(),
) -> SplitRule:
    """Return the rule of a split; without `data` those of classes and time have no meaning.

    Days begin at midnight in the zone, or in UTC. Of `hidden` columns hashes are quoted.
    """
    match split:
        case HashSplit():
            return _HashRule(split, by, data.target if data else by[0])
        case GroupSplit():
            return _GroupRule(split)
        case StratifiedSplit():
            assert data is not None
            return _StratifiedRule(split, by, data)
        case TimeSplit():
            assert data is not None
            assert data.time is not None
            return _TimeRule(split, data.time, zone)
        case PredefinedSplit():
            return _PredefinedRule(split, hidden=split.column in hidden)
        case _:
            assert_never(split)


class _HashRule:
    """Shares of the range of a hash; a row's place depends on nothing but the row."""

    def __init__(self, split: HashSplit | GroupSplit, by: Sequence[str], column: str) -> None:
        self.column = column
        self._split, self._by = split, by
        self._hasher = RowHasher(by, split.seed)
        self._places: list[Places] = []

    def add(self, batch: pa.Table, classes: Codes | None) -> None:
        del classes
        self._keep(self._hasher.hash(batch))

    def _keep(self, hashes: Hashes) -> None:
        share = hashes / np.float64(2**64)
        places = np.full(len(share), _TRAIN, np.int8)
        places[share < self._split.val + self._split.test] = _VAL
        places[share < self._split.test] = _TEST
        self._places.append(places)

    def finish(self) -> list[Places]:
        return self._places

    def reason(self) -> str:
        return (
            f"`split` takes val {self._split.val:g} and test {self._split.test:g} by the hash of "
            f"{', '.join(self._by[:5])}. Gather more different rows, or take larger shares"
        )

    def warnings(self) -> list[str]:
        return []


class _GroupRule(_HashRule):
    """As the hash, of the columns of a group alone."""

    def __init__(self, split: GroupSplit) -> None:
        super().__init__(split, split.columns, split.columns[0])
        self._groups: set[int] = set()

    def _keep(self, hashes: Hashes) -> None:
        super()._keep(hashes)
        if len(self._groups) <= _MAX_GROUPS_COUNTED:
            self._groups.update(np.unique(hashes).tolist())

    def reason(self) -> str:
        n_groups = len(self._groups)
        counted = str(n_groups) if n_groups <= _MAX_GROUPS_COUNTED else f"{n_groups} or more"
        return (
            f"`split` takes val {self._split.val:g} and test {self._split.test:g} of {counted} "
            f"groups by the hash of {', '.join(self._by[:5])}. Gather more groups, or take "
            "larger shares"
        )


class _StratifiedRule:
    """Within each class the rows with the smallest hashes test, the next validate.

    Regression: the classes are ten bins with equally many rows of the target; fewer where a bin
    would leave a split without a row.
    """

    def __init__(self, split: StratifiedSplit, by: Sequence[str], data: DataSettings) -> None:
        self.column = data.target
        self._split, self._by = split, by
        self._is_regression = data.task == "regression"
        self._hasher = RowHasher(by, split.seed)
        self._hashes: list[Hashes] = []
        self._classes: list[Codes] = []
        self._targets: list[npt.NDArray[np.float32]] = []

    def add(self, batch: pa.Table, classes: Codes | None) -> None:
        self._hashes.append(self._hasher.hash(batch))
        if classes is not None:
            self._classes.append(classes)
            return
        # Half the memory, and precise enough for a bin.
        with np.errstate(over="ignore"):
            target = one_array(batch[self.column]).cast(pa.float64()).to_numpy(zero_copy_only=False)
            self._targets.append(target.astype(np.float32))

    def finish(self) -> list[Places]:
        if self._is_regression:
            self._classes, self._targets = self._bins(), []
        n_classes = max((int(codes.max(initial=0)) + 1 for codes in self._classes), default=0)
        test, val_and_test = np.zeros(n_classes, np.uint64), np.zeros(n_classes, np.uint64)
        batches = list(zip(self._hashes, self._classes, strict=True))
        for code in range(n_classes):
            test[code], val_and_test[code] = self._borders(_of_class(code, batches))
        places: list[Places] = []
        for hashes, codes in batches:
            place = np.full(len(hashes), _TRAIN, np.int8)
            place[hashes < val_and_test[codes]] = _VAL
            place[hashes < test[codes]] = _TEST
            places.append(place)
        self._hashes, self._classes = [], []
        return places

    def _bins(self) -> list[Codes]:
        if not self._targets:
            return []
        known = np.concatenate(self._targets)
        known = known[~np.isnan(known)]
        smallest_share = min(self._split.val, self._split.test)
        n_bins = int(np.clip(len(known) * smallest_share, 1, _N_BINS))
        shares = np.arange(1, n_bins) / n_bins
        edges = np.quantile(known, shares, method="inverted_cdf") if len(known) else shares
        return [np.searchsorted(edges, each).astype(np.uint8) for each in self._targets]

    def _borders(self, hashes: Hashes) -> tuple[np.uint64, np.uint64]:
        """Return the hashes below which rows of a class test, and test or validate."""
        n_rows = len(hashes)
        n_test, n_val = (int(n_rows * s + 0.5) for s in (self._split.test, self._split.val))
        if n_rows >= 3 and not self._is_regression:
            n_test, n_val = max(n_test, 1), max(n_val, 1)
        n_test = max(min(n_test, n_rows - (2 if n_rows >= 3 else 1)), 0)
        n_val = max(min(n_val, n_rows - n_test - 1), 0)
        return _border(hashes, n_test), _border(hashes, n_test + n_val)

    def reason(self) -> str:
        return (
            f"`split` takes val {self._split.val:g} and test {self._split.test:g} of each class "
            f"by the hash of {', '.join(self._by[:5])}. Gather more different rows, or take "
            "larger shares"
        )

    def warnings(self) -> list[str]:
        return []


def _of_class(code: int, batches: list[tuple[Hashes, Codes]]) -> Hashes:
    """Return the hashes of a class; no piece of them is held twice, as concatenate would."""
    mine = np.empty(sum(int(np.count_nonzero(codes == code)) for _, codes in batches), np.uint64)
    first = 0
    for hashes, codes in batches:
        piece = hashes[codes == code]
        mine[first : first + len(piece)] = piece
        first += len(piece)
    return mine


def _border(hashes: Hashes, n_below: int) -> np.uint64:
    """Return the hash that `n_below` rows are below, or nearly so: equal ones stay together.

    It changes the order of `hashes`, to save a copy.
    """
    if not n_below:
        return np.uint64(0)
    hashes.partition(n_below)
    border: np.uint64 = hashes[n_below]
    below, up_to = np.count_nonzero(hashes < border), np.count_nonzero(hashes <= border)
    return border if n_below - below <= up_to - n_below else border + np.uint64(1)


class _TimeRule:
    """The oldest rows train, the newest test; rows of one instant are never parted."""

    def __init__(self, split: TimeSplit, column: str, zone: str | None) -> None:
        self.column, self._zone = column, zone
        self._split = split
        self._times: list[npt.NDArray[np.int64]] = []
        self._n_null = self._n_rows = 0
        self._first = self._last = self._val_from = self._test_from = 0

    def add(self, batch: pa.Table, classes: Codes | None) -> None:
        del classes
        times = one_array(batch[self.column])
        self._n_null += times.null_count
        self._times.append(microseconds(times))

    def finish(self) -> list[Places]:
        if self._n_null:
            message = (
                f"{rows_that(self._n_null, 'have no time')}, so no split of kind `time` can place "
                "them; fill it in the source, or drop the rows there"
            )
            raise ContractError([Violation(self.column, "nullable", self._n_null, message)])
        filled = [times for times in self._times if len(times)]
        self._first = min((int(times.min()) for times in filled), default=0)
        self._last = max((int(times.max()) for times in filled), default=0)
        self._set_cuts()
        gap = round(self._split.gap_days * _DAY_US)
        places: list[Places] = []
        for times in self._times:
            place = np.full(len(times), _TRAIN, np.int8)
            place[times >= self._val_from - gap] = UNUSED
            place[times >= self._val_from] = _VAL
            place[times >= self._test_from - gap] = UNUSED
            place[times >= self._test_from] = _TEST
            places.append(place)
        self._times = []
        return places

    def _set_cuts(self) -> None:
        split = self._split
        if split.val_from is not None and split.test_from is not None:
            self._val_from = _midnight(split.val_from, self._zone)
            self._test_from = _midnight(split.test_from, self._zone)
        if split.val_days is not None and split.test_days is not None:
            # A day's length holds one midnight, not two: the cut itself is still older.
            self._test_from = self._last + 1 - round(split.test_days * _DAY_US)
            self._val_from = self._test_from - round(split.val_days * _DAY_US)

    def reason(self) -> str:
        gap = f" after gaps of {self._split.gap_days:g} days" if self._split.gap_days else ""
        cuts = "cuts" if self._split.val_from else "lengths"
        return (
            f"the rows are from {self._text(self._first)} to {self._text(self._last)}, and "
            f"`split` has val from {self._text(self._val_from)} and test from "
            f"{self._text(self._test_from)}{gap}. "
            f"Change the {cuts}" + (" or `split.gap_days`" if gap else "")
        )

    def warnings(self) -> list[str]:
        return []

    def _text(self, micros: int) -> str:
        return _text(int(to_local(np.array([micros], np.int64), self._zone)[0]))


def _midnight(day: date, zone: str | None) -> int:
    local = np.array([(day - _EPOCH.date()).days * _DAY_US], np.int64)
    return int(to_utc(local, zone)[0])


def _text(micros: int) -> str:
    try:
        return (_EPOCH + timedelta(microseconds=micros)).isoformat(" ", "minutes")[:16]
    except OverflowError:  # beyond the years that Python knows
        return f"{micros / _DAY_US / 365.2425 + 1970:.0f}"


class _PredefinedRule:
    """By words; what is none of them is not used, and said."""

    def __init__(self, split: PredefinedSplit, *, hidden: bool) -> None:
        self.column, self._hidden = split.column, hidden
        self._split = split
        self._places: list[Places] = []
        self._other = Counter[str]()
        self._n_other = self._n_null = 0
        self._words = pa.array([*split.train, *split.val, *split.test], pa.string())
        sizes = (len(split.train), len(split.val), len(split.test))
        self._place_of = np.append(np.repeat((_TRAIN, _VAL, _TEST), sizes), UNUSED).astype(np.int8)

    def add(self, batch: pa.Table, classes: Codes | None) -> None:
        del classes
        words = one_array(batch[self.column]).cast(pa.string())
        found = pc.index_in(words, value_set=self._words).fill_null(len(self._words))
        self._places.append(self._place_of[found.to_numpy(zero_copy_only=False)])
        other = words.filter(pc.equal(found, len(self._words)))
        self._n_null += other.null_count
        self._n_other += len(other) - other.null_count
        if len(self._other) < _MAX_WORDS_KEPT:
            for entry in other.drop_null().value_counts()[:_MAX_WORDS_KEPT].to_pylist():
                self._other[entry["values"]] += entry["counts"]

    def finish(self) -> list[Places]:
        return self._places

    def reason(self) -> str:
        words = {name: examples(getattr(self._split, name)) for name in SPLITS}
        named = ", ".join(f"{name} as {text}" for name, text in words.items())
        held = f"; it also holds {self._examples()}" if self._n_other else ""
        return f"column {self.column!r} should name {named}{held}. Set the words in `split`"

    def warnings(self) -> list[str]:
        found: list[str] = []
        if self._n_other:
            found.append(f"{rows_that(self._n_other, 'hold another word')}, {self._examples()}")
        if self._n_null:
            found.append(rows_that(self._n_null, "hold none"))
        if not found:
            return []
        return [
            f"column {self.column!r} names no split in some rows, which are not used: "
            f"{'; '.join(found)}"
        ]

    def _examples(self) -> str:
        words = [word for word, _ in self._other.most_common(6)]
        return examples(map(hashed, words) if self._hidden else words)
