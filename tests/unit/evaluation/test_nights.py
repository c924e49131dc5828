"""Nights that promoted a worse model, from their rows to the decision."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn import metrics as sk

from pipeline_lib import fit
from pipeline_lib.config import PipelineConfig
from pipeline_lib.encoding import EncodedSplit
from pipeline_lib.encoding.tensors import SplitFile
from pipeline_lib.evaluation.baselines import EncodedSplits
from pipeline_lib.evaluation.evaluate import evaluate_model, score_champion
from pipeline_lib.evaluation.gate import ChampionScores, Decision, decide_promotion
from pipeline_lib.fitting import split_rows
from pipeline_lib.serving import FittedModel
from tests.unit.encoding.in_memory import write_split

MakeConfig = Callable[..., PipelineConfig]


def _config(table_config: MakeConfig, task: str, **sections: Any) -> PipelineConfig:
    columns = {"x": {"kind": "number"}, "z": {"kind": "number"}}
    return table_config(data={"task": task}, columns=columns, **sections)


def _table(n_rows: int, labels: Callable[..., list[str]], seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    x, z = random.normal(size=(2, n_rows))
    return pa.table({"x": x, "z": z, "label": labels(x, z, random)})


def _coins(x: Any, z: Any, random: np.random.Generator) -> list[str]:
    return random.choice(["no", "yes"], len(x)).tolist()


def _signs(x: Any, z: Any, random: np.random.Generator) -> list[str]:
    return np.where(x > 0, "a", "b").tolist()


def _signs_and_c(x: Any, z: Any, random: np.random.Generator) -> list[str]:
    return np.where(z > 2, "c", np.where(x > 0, "a", "b")).tolist()


def _night(
    config: PipelineConfig, table: pa.Table, folder: Path, champion: FittedModel | None = None
) -> tuple[Decision, FittedModel, ChampionScores | None]:
    model = fit(config, table)
    train, val, test = split_rows(table, config)
    files: list[SplitFile] = []
    for name, rows in (("train", train), ("val", val), ("test", test)):
        split = EncodedSplit.of(rows, model.encoder, model.target)
        path = folder / f"{name}.parquet"
        write_split(path, split, model.encoder, model.target)
        files.append(SplitFile(path, model.encoder))
    out = folder / "predictions.parquet"
    splits = EncodedSplits(*files)
    result = evaluate_model(config, model, [test], splits=splits, out=out).result
    against = None
    if champion is not None:
        against = score_champion(config, champion, "1", [test], challenger=result.predictions)
    decision = decide_promotion(
        config.primary,
        result,
        champion=against,
        floor=config.promotion.floor,
        min_test_rows=config.promotion.min_test_rows,
        max_standard_error=config.promotion.max_standard_error,
    )
    return decision, model, against


def test_a_better_champion_stays_though_it_answers_with_a_class_that_is_gone(
    tmp_path: Path, table_config: MakeConfig
) -> None:
    baselines: dict[str, Any] = {"baselines": ["constant"]}
    well = _config(table_config, "multiclass", training={"epochs": 30}, evaluation=baselines)
    slow = {"kind": "adam", "learning_rate": 0.002}
    hastily = _config(
        table_config,
        "multiclass",
        training={"epochs": 1, "optimizer": slow},
        evaluation=baselines,
    )
    champion = fit(well, _table(1200, _signs_and_c))
    tomorrow = _table(1200, _signs, seed=1)  # no c, though some rows lie where c was

    decision, challenger, scores = _night(hastily, tomorrow, tmp_path, champion)

    test = split_rows(tomorrow, hastily)[2]
    labels = test["label"].to_pylist()
    ours, theirs = (
        model.predict(test.select(["x", "z"]))["prediction"].tolist()
        for model in (challenger, champion)
    )
    over_three = sk.f1_score(labels, theirs, average="macro", zero_division=0)
    assert over_three < sk.f1_score(labels, ours, average="macro"), "the rows show nothing"
    assert scores is not None
    assert scores.scores is not None
    expected = sk.f1_score(labels, theirs, labels=["a", "b"], average="macro")
    assert scores.scores["macro_f1"] == pytest.approx(expected)
    assert decision.outcome == "kept"
    assert "is worse than champion v1" in decision.reason


@pytest.mark.parametrize("seed", range(3))
def test_a_model_of_coin_flips_is_rejected(
    tmp_path: Path, table_config: MakeConfig, seed: int
) -> None:
    config = _config(table_config, "binary", training={"epochs": 20})

    decision, _, _ = _night(config, _table(1500, _coins, seed), tmp_path)

    assert decision.outcome == "rejected"
    assert "chance: " in decision.reason


def test_a_handful_of_test_rows_does_not_replace_a_champion(
    tmp_path: Path, table_config: MakeConfig
) -> None:
    config = _config(table_config, "binary", training={"epochs": 30})
    first, champion, _ = _night(config, _table(3000, _signs), tmp_path)

    second, _, _ = _night(config, _table(40, _signs, seed=1), tmp_path, champion)

    assert first.outcome == "promoted"
    assert second.outcome in ("kept", "rejected")
    assert second.outcome == "rejected" or "promotion.min_test_rows: 50" in second.notes[-1]


def test_a_first_night_of_150_rows_may_have_a_champion(
    tmp_path: Path, table_config: MakeConfig
) -> None:
    config = _config(table_config, "binary", training={"epochs": 60})

    decision, _, _ = _night(config, _table(150, _signs), tmp_path)

    assert decision.outcome == "promoted"
    assert "this first model was judged on only " in decision.notes[0]


def test_the_same_target_in_other_words_cannot_be_compared(
    tmp_path: Path, table_config: MakeConfig
) -> None:
    config = _config(table_config, "binary", training={"epochs": 30})
    table = _table(800, _signs)
    words = [{"a": "true", "b": "false"}[label] for label in table["label"].to_pylist()]
    _, champion, _ = _night(config, table, tmp_path)

    decision, _, _ = _night(
        config, table.set_column(2, "label", pa.array(words)), tmp_path, champion
    )

    assert decision.outcome == "kept"
    assert not decision.is_comparable
    assert "it knows the classes 'a', 'b' of 'label'" in decision.reason
