"""Encoded splits of a dataset, published under their digest, and the ledger that grows with them.

The ledger is the encoder of the last encoded night. The next one starts from its vocabularies, so
a code keeps its category; a damaged ledger is refused, for codes would change their meaning.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from pipeline_lib.config import CategoryColumn, PipelineConfig
from pipeline_lib.data.prepared import SplitRows
from pipeline_lib.data.splits import SPLITS, SplitName
from pipeline_lib.encoding.encoder import Encoder
from pipeline_lib.encoding.target import Target, fit_target, target_from_json, target_to_json
from pipeline_lib.encoding.tensors import EncodedSplit, read_split, write_split
from pipeline_lib.encoding.vocabulary import Vocabulary
from pipeline_lib.errors import StorageError
from pipeline_lib.storage import (
    Json,
    believed,
    code_digest,
    dataset_folder,
    digest_json,
    publish,
    write_json,
)


@dataclass(frozen=True)
class EncodedData:
    """Where encoded splits, encoder and target lie; `new_categories` counts by column."""

    folder: Path
    digest: str
    new_categories: Mapping[str, int]

    def read_encoder(self) -> Encoder:
        """Return the encoder that made the splits."""
        return Encoder.load(self.folder)

    def read_target(self) -> Target:
        """Return how the target is encoded."""
        text = (self.folder / "target.json").read_text("utf-8")
        return target_from_json(cast("dict[str, Any]", json.loads(text)))

    def read(self, split: SplitName) -> EncodedSplit:
        """Return one encoded split."""
        return read_split(self.folder / f"{split}.parquet", self.read_encoder())


def ledger_folder(name: str) -> Path:
    """Return where a dataset's ledger lies."""
    return dataset_folder(name) / "ledger"


def read_ledger(name: str) -> Mapping[str, Vocabulary]:
    """Return a dataset's vocabularies so far; none before the first night.

    Raises:
        StorageError: the ledger is damaged.
    """
    folder = ledger_folder(name)
    if believed(folder) is None:
        if not folder.exists():
            return {}
        raise StorageError(
            f"{folder} is damaged: its files are not those of its manifest. Restore it; removing "
            "it starts new codes, and models and encoded splits of earlier nights lose theirs"
        )
    return Encoder.load(folder).vocabularies


def encode_splits(config: PipelineConfig, rows: SplitRows, *, today: str) -> EncodedData:
    """Fit the encoder on the training rows, encode all splits, and let the ledger grow.

    Raises:
        ContractError: a class has no training row.
        UnknownCategoryError: a category is unseen in a column with `on_unknown: error`.
        StorageError: the ledger is damaged, or a place cannot be written.
    """
    ledger = read_ledger(config.name)
    tables = {name: rows.read_typed(name, config) for name in SPLITS}
    train, target_column = tables["train"], config.data.target
    encoder = Encoder.fit(
        train,
        config.columns,
        today=today,
        min_count=config.encoding.min_count,
        ledger=ledger,
    )
    every = pa.chunked_array([c for t in tables.values() for c in t[target_column].chunks])
    target = fit_target(config.data, train[target_column], every)
    target_json: Json = target_to_json(target)
    digest = digest_json([rows.digest, encoder.fingerprint(), target_json, code_digest()])
    folder = dataset_folder(config.name) / "encoded" / digest[:16]
    if believed(folder) is None:
        with publish(folder, {"digest": digest}) as scratch:
            encoder.save(scratch)
            write_json(scratch / "target.json", target_json)
            for name, table in tables.items():
                write_split(
                    scratch / f"{name}.parquet", EncodedSplit.of(table, encoder, target), encoder
                )
    _grow_ledger(config.name, ledger, encoder)
    new = {
        name: len(vocabulary.categories) - len(ledger[name].categories if name in ledger else ())
        for name, vocabulary in encoder.vocabularies.items()
    }
    return EncodedData(folder, digest, {name: n for name, n in new.items() if n})


def _grow_ledger(name: str, ledger: Mapping[str, Vocabulary], encoder: Encoder) -> None:
    """Write tonight's vocabularies, and those of columns that tonight's config does not have."""
    vocabularies = {**ledger, **encoder.vocabularies}
    kept = Encoder({name: CategoryColumn() for name in vocabularies}, vocabularies, {})
    with publish(ledger_folder(name), {"encoder": kept.fingerprint()}) as scratch:
        kept.save(scratch)
