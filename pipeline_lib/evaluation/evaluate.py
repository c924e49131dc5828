"""A model held against raw test rows, with baselines beside it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract import conform, target_column
from pipeline_lib.encoding import ClassTarget, EncodedSplit
from pipeline_lib.errors import EvergreenError
from pipeline_lib.evaluation.baselines import predict_baseline
from pipeline_lib.evaluation.comparison import Scores
from pipeline_lib.evaluation.gate import ChampionScores
from pipeline_lib.evaluation.metrics import all_finite, is_constant, score
from pipeline_lib.evaluation.results import ClassRow, EvaluationResult
from pipeline_lib.evaluation.tables import ClassTables, class_tables
from pipeline_lib.serving import FittedModel, Predictions


@dataclass(frozen=True)
class Evaluation:
    """The result and, of a classification, its tables."""

    result: EvaluationResult
    tables: ClassTables | None


def evaluate_model(
    config: PipelineConfig,
    model: FittedModel,
    test_rows: pa.Table,
    *,
    train: EncodedSplit,
    test: EncodedSplit,
    out: Path,
) -> Evaluation:
    """Score a model on raw test rows, and the baselines beside it.

    Args:
        config: task, target, baselines and seed.
        model: predicts the raw rows through its own encoder.
        test_rows: rows as they came, with the target.
        train: encoded training rows, for the baselines.
        test: the same test rows, encoded, for the baselines.
        out: where the test predictions are kept, as parquet.
    """
    actual = _actual(config, test_rows)
    predictions = model.predictions(_known_columns(model, test_rows))
    frame = predictions.to_frame()
    frame.insert(0, "actual", actual.to_pandas())
    frame.to_parquet(out)
    baselines: dict[str, Scores] = {}
    for baseline in config.evaluation.baselines:
        predicted = predict_baseline(
            baseline,
            train,
            test,
            target=model.target,
            cardinalities=model.encoder.cardinalities,
            seed=config.training.seed,
        )
        baselines[baseline] = score(actual, predicted)
    finite = all_finite(predictions)
    tables = class_tables(actual, predictions) if isinstance(model.target, ClassTarget) else None
    result = EvaluationResult(
        score(actual, predictions) if finite else {},
        baselines,
        finite=finite,
        constant=is_constant(predictions),
        classes=_class_rows(tables) if tables else (),
        predictions=out,
    )
    return Evaluation(result, tables)


def score_champion(
    config: PipelineConfig, champion: FittedModel, version: str, test_rows: pa.Table
) -> ChampionScores:
    """Score the champion on tonight's raw test rows, through its own encoder.

    A champion that cannot predict these rows, or predicts something else, gets no scores and a
    problem instead.
    """
    actual = _actual(config, test_rows)
    try:
        if champion.target.column != config.data.target or champion.task != config.data.task:
            raise EvergreenError(
                f"it predicts {champion.target.column!r} ({champion.task}), "
                f"not {config.data.target!r} ({config.data.task})"
            )
        predictions = champion.predictions(_known_columns(champion, test_rows))
        if not all_finite(predictions):
            raise EvergreenError("its predictions are not finite")
        scores = score(actual, _on_classes(config, predictions, actual))
    except EvergreenError as error:
        return ChampionScores(version, None, " ".join(str(error).split()))
    return ChampionScores(version, scores)


def _actual(config: PipelineConfig, rows: pa.Table) -> pa.ChunkedArray:
    target = config.data.target
    return conform(rows, {target: target_column(config.data)}, source="the test rows")[target]


def _known_columns(model: FittedModel, rows: pa.Table) -> pa.Table:
    """Return the columns that a model asks for, as far as they are there."""
    return rows.select([name for name in rows.column_names if name in model.encoder.columns])


def _on_classes(
    config: PipelineConfig, predictions: Predictions, actual: pa.ChunkedArray
) -> Predictions:
    """Add classes that the champion does not know, at probability 0, so that they cost it."""
    target = predictions.target
    if not isinstance(target, ClassTarget):
        return predictions
    tonight = config.data.classes or tuple(sorted(actual.unique().to_pylist()))
    new = [name for name in tonight if name not in target.classes]
    if not new:
        return predictions
    zeros: npt.NDArray[np.float64] = np.zeros((len(actual), len(new)))
    return Predictions(
        ClassTarget(target.column, (*target.classes, *new)),
        np.concatenate([predictions.values, zeros], axis=1),
        predictions.unseen,
    )


def _class_rows(tables: ClassTables) -> tuple[ClassRow, ...]:
    return tuple(
        ClassRow(
            str(r["class"]),
            float(r["precision"]),
            float(r["recall"]),
            float(r["f1"]),
            int(r["n_rows"]),
        )
        for r in tables.report.to_dict("records")
    )
