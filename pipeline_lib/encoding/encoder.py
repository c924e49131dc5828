"""All columns of a dataset together: fitted on training rows, saved without pickle, versioned."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, assert_never, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from pipeline_lib.config.columns import (
    BooleanColumn,
    CategoryColumn,
    Column,
    DatetimeColumn,
    EncodingSettings,
    HashColumn,
    NumberColumn,
)
from pipeline_lib.data.values.spelling import KnownWords
from pipeline_lib.encoding.datetimes import DatetimeInput
from pipeline_lib.encoding.hashing import HashInput
from pipeline_lib.encoding.numeric import (
    FloatFitter,
    FloatInput,
    float_input_fitter,
    float_input_from_json,
)
from pipeline_lib.encoding.orders import OrderInput
from pipeline_lib.encoding.vocabulary import MISSING, N_RESERVED, UNSEEN, Vocabulary
from pipeline_lib.encoding.words import count_words, digest_of_words
from pipeline_lib.errors import ModelError
from pipeline_lib.storage.digests import digest_json
from pipeline_lib.storage.json_files import Json, write_json
from pipeline_lib.wording import first_line

ENCODER_VERSION = 2
# With ranks of categories: earlier releases know none.
_ORDER_VERSION = 3
CodeInput = Vocabulary | HashInput

# What parts raise that no encoder has written.
_FOREIGN = (
    KeyError,
    TypeError,
    ValueError,
    IndexError,
    AttributeError,
    OverflowError,
    pa.ArrowException,
)

_CATEGORIES = pa.schema(
    [
        ("column", pa.string()),
        ("code", pa.int32()),
        ("category", pa.string()),
        ("count", pa.int64()),
        ("first_seen", pa.string()),
        ("last_seen", pa.string()),
        ("state", pa.string()),
    ]
)


@dataclass(frozen=True)
class CountedWords:
    """The words of a column and their training rows; `counts[0]` are rows without a value."""

    words: pa.Array
    counts: npt.NDArray[np.int64]

    def held(self) -> list[str]:
        """Return the words that some row holds."""
        return self.words.filter(pa.array(self.counts[1:] > 0)).to_pylist()


@dataclass(frozen=True)
class Encoder:
    """From typed rows to `x_cat` and `x_num`; the order of columns is the config's."""

    columns: Mapping[str, Column]
    code_inputs: Mapping[str, CodeInput]
    float_inputs: Mapping[str, FloatInput]

    @classmethod
    def fit(
        cls,
        train: pa.Table,
        columns: Mapping[str, Column],
        *,
        today: str,
        encoding: EncodingSettings | None = None,
        ledger: Mapping[str, Vocabulary] | None = None,
        zones: Mapping[str, str] | None = None,
    ) -> "Encoder":
        """Learn categories and scales from training rows alone.

        Args:
            train: typed training rows (see `data.contract.conform`).
            columns: the contract.
            today: day that new categories are noted with (ISO 8601).
            encoding: how rare a category may be, and how many there may be.
            ledger: vocabularies of earlier runs; their codes are kept.
            zones: the time zones of columns of times that have one.
        """
        counted: dict[str, CountedWords] = {}
        fitters = float_fitters(columns, zones)
        for name, column in columns.items():
            if isinstance(column, CategoryColumn):
                counted[name] = CountedWords(*count_words(train[name]))
            elif name in fitters:
                fitters[name].add(train[name])
        return cls.of_counts(
            columns, counted, fitters, today=today, encoding=encoding, ledger=ledger
        )

    @classmethod
    def of_counts(
        cls,
        columns: Mapping[str, Column],
        counted: Mapping[str, CountedWords],
        fitters: Mapping[str, FloatFitter],
        *,
        today: str,
        encoding: EncodingSettings | None = None,
        ledger: Mapping[str, Vocabulary] | None = None,
    ) -> "Encoder":
        """Learn from what was counted of training rows, batch by batch; see `fit`."""
        encoding, earlier = encoding or EncodingSettings(), ledger or {}
        code_inputs: dict[str, CodeInput] = {}
        for name, column in columns.items():
            if isinstance(column, CategoryColumn):
                code_inputs[name] = earlier.get(name, Vocabulary(name)).grow(
                    counted[name].words,
                    counted[name].counts,
                    today=today,
                    min_count=column.min_count or encoding.min_count,
                    max_size=column.max_size or encoding.max_size,
                )
            elif isinstance(column, HashColumn):
                code_inputs[name] = HashInput(name, column.n_buckets)
        floats: dict[str, FloatInput] = {}
        for name, column in columns.items():
            if isinstance(column, CategoryColumn) and column.order is not None:
                words, counts = counted[name].words, counted[name].counts[1:]
                floats[name] = OrderInput.fit(name, column.order, words, counts)
            elif name in fitters:
                floats[name] = fitters[name].finish()
        return cls(dict(columns), code_inputs, floats)

    @property
    def vocabularies(self) -> dict[str, Vocabulary]:
        """The columns that have a vocabulary."""
        return {n: v for n, v in self.code_inputs.items() if isinstance(v, Vocabulary)}

    @property
    def zones(self) -> dict[str, str]:
        """The time zones of columns in which times need one: no setting says how to read others."""
        times = {n: i for n, i in self.float_inputs.items() if isinstance(i, DatetimeInput)}
        settings = {n: c for n, c in self.columns.items() if isinstance(c, DatetimeColumn)}
        return {
            name: inputs.zone
            for name, inputs in times.items()
            if inputs.zone is not None and settings[name].time_zone is None
        }

    @property
    def clockless(self) -> tuple[str, ...]:
        """The columns with parts of a calendar whose zone neither training nor a setting says."""
        return tuple(
            name
            for name, inputs in self.float_inputs.items()
            if isinstance(inputs, DatetimeInput)
            and inputs.zone is None
            and set(inputs.parts) != {"elapsed"}
        )

    @property
    def known(self) -> dict[str, KnownWords]:
        """The words in whose spelling typed values are read, by column; see `data.contract`."""
        return {name: vocabulary.known for name, vocabulary in self.vocabularies.items()}

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Codes per column of `x_cat`, reserved ones included."""
        return tuple(inputs.cardinality for inputs in self.code_inputs.values())

    @property
    def n_numeric(self) -> int:
        """The width of `x_num`."""
        return sum(inputs.width for inputs in self.float_inputs.values())

    @property
    def orders(self) -> dict[str, OrderInput]:
        """The category columns with ranks, which are inputs of `x_cat` and of `x_num`."""
        return {n: i for n, i in self.float_inputs.items() if isinstance(i, OrderInput)}

    @property
    def numeric_names(self) -> tuple[str, ...]:
        """The column that each position of `x_num` comes from."""
        widths = {name: inputs.width for name, inputs in self.float_inputs.items()}
        return tuple(name for name, width in widths.items() for _ in range(width))

    def encode_categories(self, table: pa.Table) -> npt.NDArray[np.int32]:
        """Return codes, shape ``(n_rows, n_code_columns)``.

        Raises:
            UnknownCategoryError: a category is unseen in a column whose `on_unknown` is "error".
        """
        codes = np.empty((table.num_rows, len(self.code_inputs)), np.int32)
        for position, (name, inputs) in enumerate(self.code_inputs.items()):
            if isinstance(inputs, Vocabulary):
                column = cast("CategoryColumn", self.columns[name])
                codes[:, position] = inputs.encode(
                    table[name], on_unknown=column.on_unknown, hidden=column.hides_values
                )
            else:
                codes[:, position] = inputs.encode(table[name])
        return codes

    def encode_numbers(self, table: pa.Table) -> npt.NDArray[np.float32]:
        """Return scaled numbers, shape ``(n_rows, n_numeric)``."""
        floats = np.empty((table.num_rows, self.n_numeric), np.float32)
        start = 0
        for name, inputs in self.float_inputs.items():
            floats[:, start : start + inputs.width] = inputs.encode(table[name])
            start += inputs.width
        return floats

    def count_unseen(self, x_cat: npt.NDArray[np.int32], table: pa.Table) -> npt.NDArray[np.int32]:
        """Count the values of each row that training has never seen, shape ``(n_rows,)``.

        A category of an earlier run counts if the last training rows held it no more, and so
        does one too rare for a code. A null counts where training had none: a missing category in
        a column that was full, a missing number in a column that is not nullable. A hashed word
        never counts: it is not known.
        """
        unseen = np.zeros(len(x_cat), np.int32)
        for position, inputs in enumerate(self.code_inputs.values()):
            if isinstance(inputs, Vocabulary):
                trained = np.concatenate([[False, inputs.n_missing > 0], inputs.counts > 0])
                unseen += ~trained[x_cat[:, position]]
        for name, inputs in self.float_inputs.items():
            if not inputs.nullable and table[name].null_count:
                unseen += table[name].is_null().to_numpy()
        return unseen

    def fingerprint(self) -> str:
        """Return the sha256 of everything that decides what a code or a float means."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digests: Json = [digest_of_words(v.categories) for v in self.vocabularies.values()]
        rare: Json = [
            np.flatnonzero(v.is_rare).tolist() if v.min_count > 1 else []
            for v in self.vocabularies.values()
        ]
        return digest_json({"encoder": self._spec(), "categories": digests, "rare": rare})

    def categories_table(self) -> pa.Table:
        """Return which code means what, in the columns of `categories.parquet`.

        The reserved codes stand there too, with a null category.
        """
        tables = [_ledger_rows(vocabulary) for vocabulary in self.vocabularies.values()]
        return pa.concat_tables(tables) if tables else _CATEGORIES.empty_table()

    def save(self, folder: Path) -> None:
        """Write `encoder.json` and `categories.parquet`."""
        write_json(folder / "encoder.json", {**self._spec(), "fingerprint": self.fingerprint()})
        pq.write_table(self.categories_table(), folder / "categories.parquet", compression="zstd")

    @classmethod
    def load(cls, folder: Path) -> "Encoder":
        """Read what `save` wrote.

        Raises:
            ModelError: files are missing, of another version, or do not fit each other.
        """
        try:
            spec = cast("dict[str, Any]", json.loads((folder / "encoder.json").read_text("utf-8")))
            table = pq.read_table(folder / "categories.parquet")
        except (OSError, ValueError) as error:
            raise ModelError(f"{folder}: the encoder cannot be read: {error}") from None
        try:
            if (version := spec.get("version")) not in (ENCODER_VERSION, _ORDER_VERSION):
                raise ModelError(
                    f"{folder}/encoder.json has version {version!r}, "
                    f"this code reads {ENCODER_VERSION} to {_ORDER_VERSION}"
                )
            encoder = cls._from_parts(cast("list[dict[str, Any]]", spec["columns"]), table)
            is_one = encoder.fingerprint() == spec.get("fingerprint")
        except _FOREIGN as error:
            raise ModelError(f"{folder}: the encoder is damaged: {first_line(error)}") from None
        if not is_one:
            raise ModelError(
                f"{folder}: encoder.json and categories.parquet are not of one encoder"
            )
        return encoder

    @classmethod
    def _from_parts(cls, entries: list[dict[str, Any]], table: pa.Table) -> "Encoder":
        columns: dict[str, Column] = {}
        code_inputs: dict[str, CodeInput] = {}
        floats: dict[str, FloatInput] = {}
        adapter: TypeAdapter[Column] = TypeAdapter(Column)
        for entry in entries:
            name = str(entry["name"])
            columns[name] = column = adapter.validate_python(entry["settings"])
            match column:
                case CategoryColumn():
                    rows = table.filter(pc.equal(table["column"], name))
                    code_inputs[name] = _vocabulary(name, rows, int(entry["min_count"]))
                    if column.order is not None:
                        spec = entry["parameters"]
                        floats[name] = OrderInput.from_json(name, column.order, spec)
                case HashColumn():
                    code_inputs[name] = HashInput(name, column.n_buckets)
                case NumberColumn() | BooleanColumn() | DatetimeColumn():
                    floats[name] = float_input_from_json(name, column, entry["parameters"])
                case _:
                    assert_never(column)
        return cls(columns, code_inputs, floats)

    def _spec(self) -> dict[str, Json]:
        entries: list[Json] = []
        for name, column in self.columns.items():
            settings: dict[str, Json] = column.model_dump(mode="json")
            if settings.get("time_zone", "") is None:
                # As before there were zones: what an encoder is known by stays the same.
                del settings["time_zone"]
            entry: dict[str, Json] = {"name": name, "settings": settings}
            inputs = self.code_inputs.get(name)
            if isinstance(inputs, Vocabulary):
                entry["min_count"] = inputs.min_count
            if name in self.float_inputs:
                entry["parameters"] = self.float_inputs[name].to_json()
            entries.append(entry)
        version = _ORDER_VERSION if self.orders else ENCODER_VERSION
        return {"version": version, "columns": entries}


def float_fitters(
    columns: Mapping[str, Column], zones: Mapping[str, str] | None = None
) -> dict[str, FloatFitter]:
    """Return what learns the parameters of each column that becomes floats.

    Args:
        columns: the contract by column name.
        zones: the time zones of columns of times that have one.
    """
    return {
        name: float_input_fitter(name, column, (zones or {}).get(name))
        for name, column in columns.items()
        if isinstance(column, NumberColumn | BooleanColumn | DatetimeColumn)
    }


def _ledger_rows(vocabulary: Vocabulary) -> pa.Table:
    n = vocabulary.cardinality
    counts = np.concatenate([[0, vocabulary.n_missing], vocabulary.counts])
    columns: list[Iterable[object]] = [
        pa.repeat(pa.scalar(vocabulary.column, pa.string()), n),
        pa.array(np.arange(n, dtype=np.int32)),
        pa.concat_arrays([pa.nulls(N_RESERVED, pa.string()), vocabulary.categories]),
        pa.array(counts, pa.int64()),
        _days(vocabulary.first_seen),
        _days(vocabulary.last_seen),
        pa.array([None] * N_RESERVED + vocabulary.states(), pa.string()),
    ]
    return pa.table(columns, schema=_CATEGORIES)


def _days(days: "npt.NDArray[np.datetime64]") -> pa.Array:
    text = pa.array(days, pa.date32()).cast(pa.string())
    return pa.concat_arrays([pa.nulls(N_RESERVED, pa.string()), text])


def _vocabulary(name: str, rows: pa.Table, min_count: int) -> Vocabulary:
    if rows["code"].to_pylist()[:N_RESERVED] != [UNSEEN, MISSING]:
        raise ModelError(f"column {name!r} has no codes in categories.parquet")
    rows = rows.combine_chunks()
    known = rows.slice(N_RESERVED)

    def day(field: str) -> "npt.NDArray[np.datetime64]":
        days: npt.NDArray[Any] = known[field].cast(pa.date32()).to_numpy()
        return days.astype("datetime64[D]")

    return Vocabulary(
        name,
        _one_chunk(known["category"]),
        known["count"].to_numpy().astype(np.int64),
        day("first_seen"),
        day("last_seen"),
        n_missing=int(rows["count"][MISSING].as_py()),
        min_count=min_count,
    )


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    chunks: Sequence[pa.Array] = column.chunks
    return pa.concat_arrays(chunks) if chunks else pa.array([], column.type)
