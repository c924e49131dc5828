"""A night with row weights: what is kept, scored, compared with baselines and the champion."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from sklearn import metrics as sk

from pipeline_lib import fit
from pipeline_lib.config import PipelineConfig
from pipeline_lib.encoding import EncodedSplit, RowWeights
from pipeline_lib.encoding.tensors import SplitFile
from pipeline_lib.encoding.weights import counting
from pipeline_lib.evaluation.baselines import EncodedSplits, predict_baseline, sampled
from pipeline_lib.evaluation.evaluate import Evaluation, evaluate_model, score_champion
from pipeline_lib.evaluation.gate import decide_promotion
from pipeline_lib.fitting import split_rows
from pipeline_lib.serving import FittedModel
from tests.conftest import MakeConfig, MakeTable
from tests.unit.encoding.in_memory import write_split


class Night(NamedTuple):
    """A model with its encoded splits, the raw test rows, and what was found of them."""

    config: PipelineConfig
    model: FittedModel
    splits: EncodedSplits
    test_rows: pa.Table
    evaluation: Evaluation

    @property
    def kept(self) -> pd.DataFrame:
        """The kept test predictions."""
        return pd.read_parquet(self.evaluation.result.predictions)


def _night(folder: Path, config: PipelineConfig, table: pa.Table, batch_rows: int = 1000) -> Night:
    model = fit(config, table)
    train, val, test = split_rows(table, config)
    counted = counting(train, config.data.weight)
    weights = None
    if config.data.weight is not None:
        weights = RowWeights.fit(config.data.weight, counted)
    files: list[SplitFile] = []
    for number, part in enumerate((train, val, test)):
        rows = counting(part, config.data.weight)
        split = EncodedSplit.of(rows, model.encoder, model.target, weights)
        path = folder / f"{number}.parquet"
        write_split(path, split, model.encoder, model.target)
        files.append(SplitFile(path, model.encoder))
    batches = [test.slice(at, batch_rows) for at in range(0, test.num_rows, batch_rows)]
    out = folder / "predictions.parquet"
    splits = EncodedSplits(*files)
    evaluation = evaluate_model(config, model, batches, splits=splits, out=out)
    return Night(config, model, splits, test, evaluation)


def _weighted(table: pa.Table, seed: int = 0) -> pa.Table:
    random = np.random.default_rng(seed)
    weights = random.gamma(1.0, 10.0, table.num_rows)
    weights[random.random(table.num_rows) < 0.25] = 0.0
    return table.append_column("w", pa.array(weights))


def _config(make: MakeConfig, task: str, **sections: Any) -> PipelineConfig:
    tree = make(data={"task": task, "weight": "w"}, **sections).model_dump(mode="json")
    return PipelineConfig.model_validate({**tree, "model": {"kind": "linear"}})


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_kept_predictions_have_all_rows_and_their_weights_and_give_the_scores(
    tmp_path: Path, table_config: MakeConfig, toy_table: MakeTable, task: str
) -> None:
    night = _night(
        tmp_path, _config(table_config, task), _weighted(toy_table(400, task=task)), batch_rows=17
    )

    result, kept = night.evaluation.result, night.kept
    weight = kept["weight"].to_numpy()
    assert kept.columns[:2].tolist() == ["actual", "weight"]
    assert weight.tolist() == night.test_rows["w"].to_pylist()
    assert result.n_rows == (weight > 0).sum() < len(kept)
    if task == "regression":
        expected = sk.mean_absolute_error(kept["actual"], kept["prediction"], sample_weight=weight)
        assert result.scores["mae"] == pytest.approx(expected)
    else:
        right = kept["actual"] == kept["prediction"]
        assert result.scores["accuracy"] == pytest.approx(np.average(right, weights=weight))
        assert sum(row.n_rows for row in result.classes) == result.n_rows


def test_the_notes_say_by_which_column_metrics_are_weighted(
    tmp_path: Path, table_config: MakeConfig, toy_table: MakeTable
) -> None:
    night = _night(tmp_path, _config(table_config, "multiclass"), _weighted(toy_table(400)))

    weight = night.kept["weight"].to_numpy()
    effective = weight.sum() ** 2 / (weight**2).sum()
    assert night.evaluation.result.notes[0] == (
        f"metrics are weighted by w: {(weight > 0).sum()} test rows count as {effective:.1f} of "
        f"one weight; {(weight == 0).sum()} rows have the weight 0"
    )


def test_rows_of_weight_0_change_no_score(
    tmp_path: Path, table_config: MakeConfig, toy_table: MakeTable
) -> None:
    sections: dict[str, Any] = {"split": {"kind": "predefined", "column": "s"}}
    config, table = _config(table_config, "binary", **sections), toy_table(400, task="binary")
    splits = np.random.default_rng(0).choice(["train", "val", "test"], 400, p=[0.6, 0.2, 0.2])
    table = _weighted(table).append_column("s", pa.array(splits.tolist()))
    labels, weights = table["label"].to_pylist(), table["w"].to_numpy()
    odd = [label if w else "odd" for label, w in zip(labels, weights, strict=True)]
    places = [tmp_path / name for name in ("odd", "without")]
    for place in places:
        place.mkdir()

    with_odd = _night(places[0], config, table.set_column(2, "label", pa.array(odd)))
    without = _night(places[1], config, counting(table, "w"))

    ours, theirs = with_odd.evaluation.result, without.evaluation.result
    assert ours.scores == pytest.approx(theirs.scores)
    assert ours.baselines == {k: pytest.approx(v) for k, v in theirs.baselines.items()}
    assert ours.n_rows == theirs.n_rows
    assert ours.against_constant is not None
    assert theirs.against_constant is not None
    assert ours.against_constant.lower == pytest.approx(theirs.against_constant.lower)
    kept = with_odd.kept
    assert kept["actual"].isna().tolist() == (kept["weight"] == 0).tolist()


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_a_constant_is_the_weighted_share_of_each_class_or_the_weighted_mean(
    tmp_path: Path, table_config: MakeConfig, toy_table: MakeTable, task: str
) -> None:
    config, table = _config(table_config, task), _weighted(toy_table(400, task=task))
    night = _night(tmp_path, config, table)
    train = split_rows(table, config)[0].to_pandas()

    training = night.config.training
    answers = predict_baseline("constant", night.splits, model=night.model, training=training)
    values = answers.predictions.values

    if task == "regression":
        expected = np.average(train["label"], weights=train["w"])
        assert values.tolist() == pytest.approx([expected] * night.splits.test.n_rows, rel=1e-6)
    else:
        shares = train.groupby("label")["w"].sum() / train["w"].sum()
        assert values[0].tolist() == pytest.approx(shares.sort_index().tolist(), rel=1e-6)


def test_a_sample_keeps_the_weight_of_each_row(
    tmp_path: Path, table_config: MakeConfig, toy_table: MakeTable
) -> None:
    night = _night(tmp_path, _config(table_config, "multiclass"), _weighted(toy_table(400)))
    every = night.splits.train.read(range(night.splits.train.n_groups))

    some = sampled(night.splits.train, 50, seed=3)

    assert some.weight is not None
    assert every.weight is not None
    known = dict(zip(every.x_num[:, 0].tolist(), every.weight.tolist(), strict=True))
    assert some.weight.tolist() == [known[x] for x in some.x_num[:, 0].tolist()]


def _reweighted(
    night: Night, weights: npt.NDArray[np.float64], folder: Path
) -> tuple[Evaluation, pa.Table]:
    folder.mkdir()
    rows = night.test_rows.set_column(3, "w", pa.array(weights))
    evaluation = evaluate_model(
        night.config.model_copy(
            update={"evaluation": night.config.evaluation.model_copy(update={"baselines": ()})}
        ),
        night.model,
        [rows],
        splits=night.splits,
        out=folder / "predictions.parquet",
    )
    return evaluation, rows


def test_the_champion_is_compared_by_the_same_weights(
    tmp_path: Path, table_config: MakeConfig, toy_table: MakeTable
) -> None:
    """Which of two models is better depends on the rows that weigh."""
    config, table = _config(table_config, "binary"), toy_table(400, task="binary")
    table = table.append_column("w", pa.array(np.ones(400)))
    night = _night(tmp_path, config, table)
    champion = fit(_of_boosting(config), table)
    ours, theirs = (
        m.predict(night.test_rows.select(["color", "size"])) for m in (night.model, champion)
    )
    actual = night.test_rows["label"].to_pandas()
    first, second = ((m["prediction"] == actual).to_numpy() for m in (ours, theirs))
    assert (first & ~second).any()
    assert (second & ~first).any()

    gains: list[float] = []
    for number, heavy in enumerate((first & ~second, second & ~first)):
        weights = np.where(heavy, 1000.0, np.where(first == second, 1.0, 0.0))
        evaluation, rows = _reweighted(night, weights, tmp_path / str(number))
        scores = score_champion(
            config, champion, "4", [rows], challenger=evaluation.result.predictions
        )

        assert scores.scores is not None
        expected = np.average(second, weights=weights)
        assert scores.scores["accuracy"] == pytest.approx(expected)
        assert scores.difference is not None
        gains.append(scores.difference.gain)
    assert gains[0] > 0 > gains[1]


def _of_boosting(config: PipelineConfig) -> PipelineConfig:
    tree = config.model_dump(mode="json")
    return PipelineConfig.model_validate({**tree, "model": {"kind": "boosting"}})


def test_the_gate_counts_test_rows_of_a_weight_above_0(
    tmp_path: Path, table_config: MakeConfig, toy_table: MakeTable
) -> None:
    config = _of_boosting(_config(table_config, "multiclass"))
    night = _night(tmp_path, config, _weighted(toy_table(400)))
    result = night.evaluation.result
    champion = score_champion(
        config, night.model, "4", [night.test_rows], challenger=result.predictions
    )

    def decided(least: int) -> bool:
        decision = decide_promotion(
            "macro_f1",
            result,
            champion=champion,
            floor=None,
            min_test_rows=least,
            max_standard_error=1.0,
        )
        return next(check for check in decision.checks if check.name == "test rows").passed

    assert decided(result.n_rows)
    assert not decided(result.n_rows + 1)
    assert result.n_rows < night.test_rows.num_rows


def test_predictions_without_weights_are_kept_as_they_were(
    tmp_path: Path, table_config: MakeConfig, toy_table: MakeTable
) -> None:
    night = _night(tmp_path, table_config(data={"task": "binary"}), toy_table(300, task="binary"))

    assert "weight" not in night.kept
    assert not any("weighted" in note for note in night.evaluation.result.notes)
