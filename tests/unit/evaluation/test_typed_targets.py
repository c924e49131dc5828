"""A champion of text and rows that are typed, and what is kept of the test rows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline_lib import fit
from pipeline_lib.config import PipelineConfig
from pipeline_lib.encoding import EncodedSplit
from pipeline_lib.encoding.tensors import SplitFile
from pipeline_lib.evaluation.baselines import EncodedSplits
from pipeline_lib.evaluation.evaluate import evaluate_model, score_champion
from pipeline_lib.evaluation.gate import ChampionScores
from pipeline_lib.fitting import split_rows
from pipeline_lib.serving import FittedModel
from tests.unit.encoding.in_memory import write_split

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

    of_text, of_typed = (_against(config, TEXT, rows, tmp_path) for rows in (TEXT, TYPED))

    assert of_typed.scores == pytest.approx(of_text.scores)
    assert of_typed.scores is not None
    assert of_typed.scores["accuracy"] > 0.95
    assert of_typed.difference is not None


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        (["FALSE", "TRUE"], pa.array(IS_ON)),
        (["0.0", "1.0"], pa.array(IS_ON.astype(np.float64))),
        (["00", "01"], pa.array(IS_ON.astype(np.int8))),
        (["False", "True"], pa.array(IS_ON).dictionary_encode()),
    ],
    ids=["TRUE", "1.0", "01", "dictionary"],
)
def test_classes_that_a_typed_target_writes_in_another_way_are_compared(
    table_config: MakeConfig, tmp_path: Path, text: list[str], typed: pa.Array
) -> None:
    config, flags = _config(table_config), pa.array(IS_ON)
    learned = _rows(flags, pa.array([text[int(on)] for on in IS_ON]))

    scores = _against(config, learned, _rows(flags, typed), tmp_path)

    assert scores.problem == ""
    assert scores.scores is not None
    assert scores.scores["accuracy"] > 0.95


def test_kept_test_predictions_have_the_targets_own_type(
    table_config: MakeConfig, tmp_path: Path
) -> None:
    config = _config(table_config)
    rows = _rows(pa.array(IS_ON), pa.array(IS_ON.astype(np.int8)))
    model = fit(config, rows)
    parts = split_rows(rows, config)
    test = parts[2]
    files = [_written(tmp_path / str(n), part, model) for n, part in enumerate(parts)]

    evaluation = evaluate_model(
        config, model, [test], splits=EncodedSplits(*files), out=tmp_path / "kept.parquet"
    )

    kept = pd.read_parquet(tmp_path / "kept.parquet")
    assert (kept["actual"].dtype, kept["prediction"].dtype) == ("int64", "int64")
    assert kept["actual"].tolist() == test["label"].to_pylist()
    right = (kept["prediction"] == kept["actual"]).mean()
    assert evaluation.result.scores["accuracy"] == pytest.approx(right)


def _against(
    config: PipelineConfig, learned: pa.Table, rows: pa.Table, folder: Path
) -> ChampionScores:
    """Score a champion of some rows on all of others, against a model that was fitted on these."""
    alone = config.model_copy(
        update={"evaluation": config.evaluation.model_copy(update={"baselines": ()})}
    )
    champion, model = fit(config, learned), fit(config, rows)
    unused = EncodedSplits(*[_written(folder / "unused", learned, champion)] * 3)
    result = evaluate_model(alone, model, [rows], splits=unused, out=folder / "kept.parquet").result
    return score_champion(config, champion, "1", [rows], challenger=result.predictions)


def _written(path: Path, rows: pa.Table, model: FittedModel) -> SplitFile:
    words = pa.array([str(value).lower() for value in rows["flag"].to_pylist()])
    labels = pa.array([str(value) for value in rows["label"].to_pylist()])
    typed = pa.table({"flag": words, "size": rows["size"], "label": labels})
    split = EncodedSplit.of(typed, model.encoder, model.target)
    write_split(path, split, model.encoder, model.target)
    return SplitFile(path, model.encoder)
