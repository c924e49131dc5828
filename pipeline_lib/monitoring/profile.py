"""What the rows of a run look like, small enough to keep for ever and exact enough to compare.

A `Profiler` sees typed rows batch by batch and ends in a `Profile`: a few kilobytes per column,
whatever the number of rows or words, the same for the same rows in the same order however they
were cut into batches. Whether two profiles differ is decided in `drift`.
"""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal, TypeAlias, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict, Field, TypeAdapter

from pipeline_lib.config.columns import Column, DatetimeColumn, NumberColumn
from pipeline_lib.config.data import Task
from pipeline_lib.errors import StorageError
from pipeline_lib.monitoring.category_sketch import N_BUCKETS, N_RARE, N_TOP, TopWord, WordCounter
from pipeline_lib.monitoring.counts import PAGE_ROWS
from pipeline_lib.monitoring.design_effect import BlockNoise, Noise
from pipeline_lib.monitoring.number_sketch import Leaves, NumberCounter
from pipeline_lib.shown import hashed
from pipeline_lib.storage.digests import digest_json
from pipeline_lib.storage.json_files import Json
from pipeline_lib.wording import first_line

QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 — times of tables have no zone

_STRICT = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Unseen:
    """Rows with a word that the champion does not know, and up to 5 such words."""

    n_rows: int
    examples: tuple[str, ...]


@dataclass(frozen=True)
class CategoryProfile:
    """A column of words; a boolean counts as its words `true` and `false`.

    Attributes:
        n_rows: nulls included.
        cardinality: different words; exact up to 2^20.
        top: the 50 most frequent words.
        rare: how many words have 1, 2, … 10 rows.
        buckets: rows by the word's hash modulo 256; exact.
        unseen: exact; None if the profiler does not know the categories.
        noise: how much rows hang together, by length.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    kind: Literal["category"]
    n_rows: int
    n_null: int
    cardinality: int
    cardinality_is_estimate: bool
    top: tuple[TopWord, ...]
    rare: Annotated[tuple[int, ...], Field(min_length=N_RARE, max_length=N_RARE)]
    buckets: Annotated[tuple[int, ...], Field(min_length=N_BUCKETS, max_length=N_BUCKETS)]
    unseen: Unseen | None
    noise: tuple[Noise, ...]

    def __post_init__(self) -> None:
        _check_counts(self.n_rows, self.n_null, self.buckets)
        if any(word.n_rows < 0 or not 0 <= word.hash < 2**64 for word in self.top):
            raise ValueError("a top word has a count or a hash that no word can have")

    def hidden(self) -> "CategoryProfile":
        """Return the profile with hashes in place of words."""
        top = tuple(replace(each, word=hashed(each.word) or "") for each in self.top)
        unseen = self.unseen
        if unseen is not None:
            unseen = Unseen(unseen.n_rows, tuple(hashed(word) or "" for word in unseen.examples))
        return replace(self, top=top, unseen=unseen)

    @property
    def is_listed(self) -> bool:
        """Whether `top` names every word."""
        return self.cardinality == len(self.top) <= N_TOP and not self.cardinality_is_estimate


@dataclass(frozen=True)
class NumberProfile:
    """A column of numbers; times count as microseconds since 1970.

    Attributes:
        n_rows: nulls included; NaN and infinities count as nulls.
        minimum: None without a value, as are the next three.
        quantiles: at the shares of `QUANTILES`, to about 0.4 %; empty without a value.
        leaves: exact counts on at most 512 intervals.
        noise: how much rows hang together, by length.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    kind: Literal["number", "datetime"]
    n_rows: int
    n_null: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    deviation: float | None
    quantiles: tuple[float, ...]
    leaves: Leaves
    noise: tuple[Noise, ...]

    def __post_init__(self) -> None:
        _check_counts(self.n_rows, self.n_null, self.leaves.counts)
        leaves = self.leaves
        if not len(leaves.prefixes) == len(leaves.shifts) == len(leaves.counts):
            raise ValueError("leaves: the lists have different lengths")
        end = 0
        for prefix, shift in zip(leaves.prefixes, leaves.shifts, strict=True):
            if not (0 <= shift < 64 and end <= prefix << shift < 2**64):
                raise ValueError("leaves: intervals are out of order or range")
            end = (prefix + 1) << shift


def _check_counts(n_rows: int, n_null: int, counts: tuple[int, ...]) -> None:
    if not 0 <= n_null <= n_rows or min(counts, default=0) < 0 or sum(counts) != n_rows - n_null:
        raise ValueError(f"counts do not add up to {n_rows} rows less {n_null} nulls")


ColumnProfile: TypeAlias = CategoryProfile | NumberProfile


@dataclass(frozen=True)
class Profile:
    """What rows look like, column by column.

    Attributes:
        columns: features by name, in the order of the config.
        target: name of the column to predict; `target_profile` is what it looks like.
        time: name of `data.time`, or None; `newest` is its latest value, if there is one.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT
    version: Literal[1]
    n_rows: Annotated[int, Field(ge=0)]
    columns: dict[str, Annotated[ColumnProfile, Field(discriminator="kind")]]
    target: str
    target_profile: Annotated[ColumnProfile, Field(discriminator="kind")]
    time: str | None
    newest: datetime | None

    def to_json(self) -> dict[str, Json]:
        """Return what `from_json` reads: at most about 20 kB per column, often a quarter of it."""
        return cast("dict[str, Json]", _adapter().dump_python(self, mode="json"))

    @classmethod
    def from_json(cls, value: Json) -> "Profile":
        """Return the profile that `to_json` has written.

        Raises:
            StorageError: it is damaged, or of a version this code does not read.
        """
        version = value.get("version") if isinstance(value, Mapping) else None
        if version != 1:
            raise StorageError(
                f"a data profile of version {version!r:.20} cannot be read; this code reads 1"
            )
        try:
            return _adapter().validate_json(json.dumps(value), strict=True)
        except ValueError as error:
            reason = " ".join(str(error).split()[:40])[:200] or first_line(error)
            raise StorageError(f"a data profile is damaged: {reason}") from None

    def hiding(self, columns: Mapping[str, Column]) -> "Profile":
        """Return the profile with hashes for the words of columns that hide their values.

        It may be from a run before they did.
        """
        profiles = dict(self.columns)
        for name, column in columns.items():
            known = profiles.get(name)
            if column.hides_values and isinstance(known, CategoryProfile):
                profiles[name] = known.hidden()
        return replace(self, columns=profiles)

    @property
    def digest(self) -> str:
        """The sha256 of the content, as 64 hex digits."""
        return digest_json(self.to_json())


@functools.cache
def _adapter() -> TypeAdapter[Profile]:
    return TypeAdapter(Profile)


def expected_unseen(profile: CategoryProfile) -> float:
    """Return the share of further rows of the same kind whose word this column did not have.

    Good and Turing's estimate, the words with one row over all rows. If the profiler was given
    what is known, and words of these very rows were not (they were too rare for the vocabulary),
    all words up to one row more than the greatest such count are expected.

    Source: Good 1953, "The population frequencies of species".
    """
    n_rows = profile.n_rows - profile.n_null
    if not n_rows:
        return 1.0
    weights = np.cumsum(np.array(profile.rare) * np.arange(1, N_RARE + 1))
    unknown = profile.unseen.n_rows if profile.unseen else 0
    below = int(np.searchsorted(weights, unknown)) + 1 if unknown else 0
    expected = weights[below] if below < N_RARE else max(unknown, weights[0])
    return min(1.0, max(float(expected), unknown) / n_rows)


class Profiler:
    """Makes a `Profile` of rows that come batch by batch.

    Holds one page of 65,536 rows besides the batch, and per column of words 16 bytes for each
    different one up to 2^20, per column of numbers at most 16,384 cells (0.3 MB).

    Args:
        columns: the contract by column name.
        target: name of the column to predict; of type string, or float64 for a regression.
        task: what kind of prediction it is.
        time: name of `data.time`, of type timestamp, or None.
        known: by column, the words that the champion knows; then unseen rows are counted.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        *,
        target: str,
        task: Task,
        time: str | None = None,
        known: Mapping[str, pa.Array] | None = None,
    ) -> None:
        known = known or {}
        self._columns = {
            name: _new_counter(column, known.get(name)) for name, column in columns.items()
        }
        is_number = task == "regression"
        self._target_name, self._time = target, time
        self._target = _NumberColumn("number") if is_number else _WordColumn(known.get(target))
        self._newest: int | None = None
        self._n_rows = 0
        self._waiting: list[pa.Table] = []
        self._n_waiting = 0

    def add(self, batch: pa.Table) -> None:
        """Count typed rows: string, float64, bool or timestamp, as their column is declared."""
        time = [] if self._time is None else [self._time]
        names = dict.fromkeys([*self._columns, self._target_name, *time])
        batch = batch.select(list(names))
        start = 0
        while start < len(batch):
            part = batch.slice(start, PAGE_ROWS - self._n_waiting)
            self._waiting.append(part)
            self._n_waiting += len(part)
            start += len(part)
            if self._n_waiting == PAGE_ROWS:
                self._count_page()

    def finish(self) -> Profile:
        """Return the profile of all rows so far."""
        if self._n_waiting:
            self._count_page()
        newest = None if self._newest is None else _time_of(self._newest)
        return Profile(
            version=1,
            n_rows=self._n_rows,
            columns={name: column.profile() for name, column in self._columns.items()},
            target=self._target_name,
            target_profile=self._target.profile(),
            time=self._time,
            newest=newest,
        )

    def _count_page(self) -> None:
        page = pa.concat_tables(self._waiting).combine_chunks()
        self._waiting, self._n_waiting = [], 0
        self._n_rows += len(page)
        for name, column in self._columns.items():
            column.add_page(_chunk(page, name))
        self._target.add_page(_chunk(page, self._target_name))
        if self._time is not None:
            newest = pc.max(_chunk(page, self._time).cast(pa.timestamp("us"))).cast(pa.int64())
            if newest.is_valid:
                self._newest = max(newest.as_py(), self._newest or newest.as_py())


def _time_of(microseconds: int) -> datetime:
    """Return a time, the last one that Python knows if Arrow's is later."""
    try:
        return EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return datetime.max if microseconds > 0 else datetime.min  # noqa: DTZ901


def _chunk(page: pa.Table, name: str) -> pa.Array:
    column = page[name]
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _new_counter(column: Column, known: pa.Array | None) -> "_WordColumn | _NumberColumn":
    if isinstance(column, NumberColumn):
        return _NumberColumn("number")
    if isinstance(column, DatetimeColumn):
        return _NumberColumn("datetime")
    return _WordColumn(known, hidden=column.hides_values)


class _WordColumn:
    """Counts a column of words."""

    def __init__(self, known: pa.Array | None, *, hidden: bool = False) -> None:
        self._has_known = known is not None
        self._words, self._noise = WordCounter(known, hidden=hidden), BlockNoise()
        self._n_rows = self._n_null = 0

    def add_page(self, values: pa.Array) -> None:
        if not pa.types.is_string(values.type):
            values = values.cast(pa.string())
        self._n_rows += len(values)
        self._n_null += values.null_count
        self._noise.add_page(self._words.add_page(values))

    def profile(self) -> CategoryProfile:
        words = self._words
        unseen = Unseen(words.n_unseen, tuple(words.unseen_examples))
        return CategoryProfile(
            kind="category",
            n_rows=self._n_rows,
            n_null=self._n_null,
            cardinality=words.cardinality,
            cardinality_is_estimate=words.is_estimate,
            top=words.top(),
            rare=words.rare(),
            buckets=tuple(words.buckets.tolist()),
            unseen=unseen if self._has_known else None,
            noise=self._noise.measured(),
        )


class _NumberColumn:
    """Counts a column of numbers or times."""

    def __init__(self, kind: Literal["number", "datetime"]) -> None:
        self._kind: Literal["number", "datetime"] = kind
        self._numbers, self._noise = NumberCounter(), BlockNoise()
        self._n_rows = 0

    def add_page(self, values: pa.Array) -> None:
        if self._kind == "datetime":
            values = values.cast(pa.timestamp("us")).cast(pa.int64()).cast(pa.float64(), safe=False)
        numbers = values.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
        self._n_rows += len(numbers)
        self._noise.add_page(self._numbers.add_page(numbers, np.isfinite(numbers)))

    def profile(self) -> NumberProfile:
        numbers = self._numbers
        held = numbers.n_rows > 0
        return NumberProfile(
            kind=self._kind,
            n_rows=self._n_rows,
            n_null=self._n_rows - numbers.n_rows,
            minimum=numbers.minimum if held else None,
            maximum=numbers.maximum if held else None,
            mean=numbers.mean,
            deviation=numbers.deviation,
            quantiles=numbers.quantiles(QUANTILES),
            leaves=numbers.leaves(),
            noise=self._noise.measured(),
        )
