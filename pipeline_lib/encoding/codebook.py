"""Which code means what, for people and programs: JSON for MLflow, rows for a terminal."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline_lib.encoding.encoded_splits import read_ledger
from pipeline_lib.encoding.encoder import Encoder
from pipeline_lib.encoding.vocabulary import MISSING, UNSEEN, Vocabulary
from pipeline_lib.errors import UsageError
from pipeline_lib.home import DatasetFolder
from pipeline_lib.shown import hashed
from pipeline_lib.storage.json_files import Json
from pipeline_lib.wording import did_you_mean, examples, unknown_dataset

_RESERVED = {UNSEEN: "unseen", MISSING: "missing"}


@dataclass(frozen=True)
class Code:
    """One code of a column. `category` is None for the reserved ones, which `meaning` names.

    Days are ISO 8601, empty where there is none; `state` is active, rare or retired.
    """

    column: str
    code: int
    category: str | None
    meaning: str
    count: int
    first_seen: str = ""
    last_seen: str = ""
    state: str = ""


def codes_of(vocabulary: Vocabulary, *, hidden: bool = False) -> tuple[Code, ...]:
    """Return every code of a column, reserved ones first; of a hidden one hashes of its words."""
    counts = {MISSING: vocabulary.n_missing}
    reserved = [
        Code(vocabulary.column, code, None, meaning, counts.get(code, 0))
        for code, meaning in _RESERVED.items()
    ]
    parts = (
        vocabulary.categories.to_pylist(),
        vocabulary.counts.tolist(),
        _days(vocabulary.first_seen),
        _days(vocabulary.last_seen),
        vocabulary.states(),
    )
    known = [
        Code(
            vocabulary.column,
            code,
            hashed(word) if hidden else word,
            "category",
            count,
            first,
            last,
            state,
        )
        for code, (word, count, first, last, state) in enumerate(
            zip(*parts, strict=True), start=len(_RESERVED)
        )
    ]
    return (*reserved, *known)


def _days(days: "npt.NDArray[np.datetime64]") -> list[str]:
    return ["" if day is None else str(day) for day in days.astype(object).tolist()]


def codebook(encoder: Encoder) -> Json:
    """Return all codes of an encoder; columns are values here, never keys.

    Of columns that hide their values the categories are hashes.
    """
    columns: list[Json] = [
        {
            "column": name,
            "codes": [
                {
                    "code": code.code,
                    "meaning": code.meaning,
                    "category": code.category,
                    "train_rows": code.count,
                    "state": code.state,
                }
                for code in codes_of(vocabulary, hidden=encoder.columns[name].hides_values)
            ],
        }
        for name, vocabulary in encoder.vocabularies.items()
    ]
    return {"encoder": encoder.fingerprint(), "columns": columns}


def codes_of_dataset(dataset: DatasetFolder, column: str | None = None) -> tuple[Code, ...]:
    """Return the codes in a dataset's ledger, of one column or all.

    Raises:
        UsageError: there is no such dataset or column.
        StorageError: the ledger is damaged.
    """
    name, ledger = dataset.name, read_ledger(dataset)
    if not ledger:
        known = [found.name for found in dataset.home.datasets_with("ledger")]
        raise UsageError(f"dataset {name!r} has no codes yet{unknown_dataset(name, known)}")
    if column is not None and column not in ledger:
        raise UsageError(
            f"{name} has no category column {column!r}{did_you_mean(column, ledger) or '.'} "
            f"Known: {examples(ledger)}."
        )
    chosen = ledger.values() if column is None else [ledger[column]]
    return tuple(code for vocabulary in chosen for code in codes_of(vocabulary))
