"""A champion of text and rows that are typed, and what is kept of the test rows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline_lib import fit
from pipeline_lib.config import CategoryColumn, PipelineConfig
from pipeline_lib.data.contract import conform
from pipeline_lib.encoding import EncodedSplit, write_split
from pipeline_lib.encoding.tensors import SplitFile
from pipeline_lib.evaluation.evaluate import evaluate_model, score_champion
from pipeline_lib.evaluation.gate import ChampionScores
from pipeline_lib.fitting import split_rows
from pipeline_lib.serving import FittedModel

MakeConfig = Callable[..., PipelineConfig]
IS_ON = np.arange(240) % 3 > 0


def _config(make_config: MakeConfig) -> PipelineConfig:
    columns = {"flag": {"kind": "category"}, "size": {"kind": "number"}}
    return make_config(columns=columns, data={"task": "binary"}, training={"epochs": 10})


def _rows(flags: pa.Array, labels: pa.Array) -> pa.Table:
    sizes = [float(n) for n in range(len(IS_ON))]
    return pa.table({"flag": flags, "size": sizes, "label": labels})


TYPED = _rows(pa.array(IS_ON), pa.array(IS_ON))
TEXT = _rows(*[pa.array([str(bool(on)) for on in IS_ON])] * 2)


def test_a_champion_of_a_csv_is_scored_alike_on_the_same_rows_typed(
    table_config: MakeConfig, tmp_path: Path
) -> None:
    config = _config(table_config)
    champion = fit(config, TEXT)
    found: list[ChampionScores] = []
    for name, rows in (("text", TEXT), ("typed", TYPED)):
        model, kept = fit(config, rows), tmp_path / f"{name}.parquet"
        split = _written(tmp_path / name, rows, model)
        evaluate_model(config, model, [rows], train=split, test=split, out=kept)
        found.append(score_champion(config, champion, "1", [rows], challenger=kept))

    of_text, of_typed = found
    assert of_typed.scores == pytest.approx(of_text.scores)
    assert of_typed.scores is not None
    assert of_typed.scores["accuracy"] > 0.95


def test_kept_test_predictions_have_the_targets_own_type(
    table_config: MakeConfig, tmp_path: Path
) -> None:
    config = _config(table_config)
    rows = _rows(pa.array(IS_ON), pa.array(IS_ON.astype(np.int8)))
    model = fit(config, rows)
    train, _, test = split_rows(rows, config)
    files = [_written(tmp_path / name, table, model) for name, table in (("a", train), ("b", test))]

    evaluation = evaluate_model(
        config, model, [test], train=files[0], test=files[1], out=tmp_path / "kept.parquet"
    )

    kept = pd.read_parquet(tmp_path / "kept.parquet")
    assert (kept["actual"].dtype, kept["prediction"].dtype) == ("int64", "int64")
    assert kept["actual"].tolist() == test["label"].to_pylist()
    right = (kept["prediction"] == kept["actual"]).mean()
    assert evaluation.result.scores["accuracy"] == pytest.approx(right)


def _written(path: Path, rows: pa.Table, model: FittedModel) -> SplitFile:
    words = pa.array([str(value).lower() for value in rows["flag"].to_pylist()])
    labels = conform(rows, {"label": CategoryColumn()}, source="the rows")["label"]
    typed = pa.table({"flag": words, "size": rows["size"], "label": labels})
    split = EncodedSplit.of(typed, model.encoder, model.target)
    write_split(path, split, model.encoder, model.target)
    return SplitFile(path, model.encoder)
