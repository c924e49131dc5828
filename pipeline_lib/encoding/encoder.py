"""All columns of a dataset together: fitted on training rows, saved without pickle, versioned."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.config import CategoryColumn, Column, NumberColumn
from pipeline_lib.encoding.numeric import Standardizer
from pipeline_lib.encoding.vocabulary import MISSING, N_RESERVED, UNSEEN, Vocabulary
from pipeline_lib.errors import ModelError
from pipeline_lib.storage import Json, digest_json, write_json

ENCODER_VERSION = 1


@dataclass(frozen=True)
class Encoder:
    """From typed rows to `x_cat` and `x_num`; the order of columns is the config's."""

    columns: Mapping[str, Column]
    vocabularies: Mapping[str, Vocabulary]
    standardizers: Mapping[str, Standardizer]

    @classmethod
    def fit(
        cls,
        train: pa.Table,
        columns: Mapping[str, Column],
        *,
        today: str,
        min_count: int = 1,
        ledger: Mapping[str, Vocabulary] | None = None,
    ) -> "Encoder":
        """Learn categories and scales from training rows alone.

        Args:
            train: typed training rows (see `data.contract.conform`).
            columns: the contract.
            today: date that new categories are noted with.
            min_count: training rows a new category needs to get a code.
            ledger: vocabularies of earlier nights; their codes are kept.
        """
        earlier = ledger or {}
        vocabularies = {
            name: earlier.get(name, Vocabulary(name)).fit(
                train[name], today=today, min_count=min_count
            )
            for name, column in columns.items()
            if isinstance(column, CategoryColumn)
        }
        standardizers = {
            name: Standardizer.fit(name, train[name], nullable=column.nullable)
            for name, column in columns.items()
            if isinstance(column, NumberColumn)
        }
        return cls(dict(columns), vocabularies, standardizers)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Codes per category column, reserved ones included."""
        return tuple(vocabulary.cardinality for vocabulary in self.vocabularies.values())

    @property
    def n_numeric(self) -> int:
        """The width of `x_num`."""
        return sum(scale.width for scale in self.standardizers.values())

    def encode_categories(self, table: pa.Table) -> npt.NDArray[np.int32]:
        """Return codes, shape ``(n_rows, n_category_columns)``.

        Raises:
            UnknownCategoryError: a category is unseen in a column whose `on_unknown` is "error".
        """
        codes = np.empty((table.num_rows, len(self.vocabularies)), np.int32)
        for position, (name, vocabulary) in enumerate(self.vocabularies.items()):
            column = cast("CategoryColumn", self.columns[name])
            codes[:, position] = vocabulary.encode(table[name], on_unknown=column.on_unknown)
        return codes

    def encode_numbers(self, table: pa.Table) -> npt.NDArray[np.float32]:
        """Return standardized numbers, shape ``(n_rows, n_numeric)``."""
        parts = [scale.encode(table[name]) for name, scale in self.standardizers.items()]
        if not parts:
            return np.empty((table.num_rows, 0), np.float32)
        return np.concatenate(parts, axis=1)

    def count_unseen(self, x_cat: npt.NDArray[np.int32], table: pa.Table) -> npt.NDArray[np.int32]:
        """Count the values of each row that training has never seen, shape ``(n_rows,)``.

        A category of an earlier night counts if the last training rows held it no more. A null
        counts where training had none: a missing category in a column that was full, a missing
        number in a column that is not nullable.
        """
        unseen = np.zeros(len(x_cat), np.int32)
        for position, vocabulary in enumerate(self.vocabularies.values()):
            trained = np.array([0, vocabulary.n_missing, *vocabulary.counts]) > 0
            unseen += ~trained[x_cat[:, position]]
        for name, scale in self.standardizers.items():
            if not scale.nullable and table[name].null_count:
                unseen += table[name].is_null().to_numpy()
        return unseen

    def fingerprint(self) -> str:
        """Return the sha256 of everything that decides what a code or a float means."""
        vocabularies: Json = [list(v.categories) for v in self.vocabularies.values()]
        return digest_json({"encoder": self._spec(), "categories": vocabularies})

    def categories_table(self) -> pa.Table:
        """Return which code means what: column, code, category, count, first_seen.

        The reserved codes stand there too, with a null category.
        """
        rows: list[tuple[str, int, str | None, int | None, str | None]] = []
        for name, vocabulary in self.vocabularies.items():
            rows.append((name, UNSEEN, None, 0, None))
            rows.append((name, MISSING, None, vocabulary.n_missing, None))
            for code, word, count, seen in zip(
                range(N_RESERVED, vocabulary.cardinality),
                vocabulary.categories,
                vocabulary.counts,
                vocabulary.first_seen,
                strict=True,
            ):
                rows.append((name, code, word, count, seen))
        schema = pa.schema(
            [
                ("column", pa.string()),
                ("code", pa.int32()),
                ("category", pa.string()),
                ("count", pa.int64()),
                ("first_seen", pa.string()),
            ]
        )
        columns = list(zip(*rows, strict=True)) or [[]] * len(schema)
        return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema)

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
        if spec.get("version") != ENCODER_VERSION:
            raise ModelError(
                f"{folder}/encoder.json has version {spec.get('version')!r}, "
                f"this code reads {ENCODER_VERSION}"
            )
        encoder = cls._from_parts(cast("list[dict[str, Any]]", spec["columns"]), table)
        if encoder.fingerprint() != spec["fingerprint"]:
            raise ModelError(
                f"{folder}: encoder.json and categories.parquet are not of one encoder"
            )
        return encoder

    @classmethod
    def _from_parts(cls, entries: list[dict[str, Any]], table: pa.Table) -> "Encoder":
        words: dict[str, list[dict[str, Any]]] = {}
        for row in table.to_pylist():
            words.setdefault(str(row["column"]), []).append(row)
        columns: dict[str, Column] = {}
        vocabularies: dict[str, Vocabulary] = {}
        standardizers: dict[str, Standardizer] = {}
        for entry in entries:
            name = str(entry["name"])
            if entry["settings"]["kind"] == "category":
                columns[name] = CategoryColumn.model_validate(entry["settings"])
                rows = sorted(words.get(name, []), key=lambda row: int(row["code"]))
                known = rows[N_RESERVED:]
                vocabularies[name] = Vocabulary(
                    name,
                    tuple(str(row["category"]) for row in known),
                    tuple(int(row["count"]) for row in known),
                    tuple(str(row["first_seen"]) for row in known),
                    n_missing=int(rows[MISSING]["count"]) if rows else 0,
                )
            else:
                columns[name] = NumberColumn.model_validate(entry["settings"])
                standardizers[name] = Standardizer(
                    name,
                    mean=float(entry["mean"]),
                    deviation=float(entry["deviation"]),
                    nullable=bool(entry["settings"]["nullable"]),
                )
        return cls(columns, vocabularies, standardizers)

    def _spec(self) -> dict[str, Json]:
        entries: list[Json] = []
        for name, column in self.columns.items():
            entry: dict[str, Json] = {"name": name, "settings": column.model_dump(mode="json")}
            if name in self.standardizers:
                scale = self.standardizers[name]
                entry |= {"mean": scale.mean, "deviation": scale.deviation}
            entries.append(entry)
        return {"version": ENCODER_VERSION, "columns": entries}
