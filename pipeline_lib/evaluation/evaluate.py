"""A model held against raw test rows, with baselines beside it."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.contract import conform, target_column
from pipeline_lib.encoding import ClassTarget
from pipeline_lib.encoding.target import spelled_for
from pipeline_lib.encoding.tensors import SplitFile
from pipeline_lib.errors import EvergreenError
from pipeline_lib.evaluation.baselines import SAMPLE_ROWS, baseline_note, predict_baseline
from pipeline_lib.evaluation.comparison import Scores
from pipeline_lib.evaluation.gate import ChampionScores
from pipeline_lib.evaluation.metrics import all_finite, is_constant, score
from pipeline_lib.evaluation.results import ClassRow, EvaluationResult
from pipeline_lib.evaluation.tables import ClassTables, class_tables
from pipeline_lib.serving import FittedModel, Predictions
from pipeline_lib.storage import replacing
from pipeline_lib.training.batches import EVAL_BATCH_ROWS

# How many raw test rows tasks predict at once: whole passes of `EVAL_BATCH_ROWS`.
TEST_BATCH_ROWS = 4 * EVAL_BATCH_ROWS


@dataclass(frozen=True)
class Evaluation:
    """The result and, of a classification, its tables."""

    result: EvaluationResult
    tables: ClassTables | None


def evaluate_model(
    config: PipelineConfig,
    model: FittedModel,
    test_rows: Iterable[pa.Table],
    *,
    train: SplitFile,
    test: SplitFile,
    out: Path,
    sample_rows: int = SAMPLE_ROWS,
) -> Evaluation:
    """Score a model on raw test rows, and the baselines beside it.

    Of the rows only true values and predictions are held together, one model's at a time.

    Args:
        config: task, target, baselines and seed.
        model: predicts the raw rows through its own encoder.
        test_rows: rows as they came, with the target, in batches of any size.
        train: encoded training rows, for the baselines.
        test: the same test rows, encoded, for the baselines.
        out: where the test predictions are kept, as parquet.
        sample_rows: most rows that a baseline learns from.
    """
    with replacing(out) as scratch:
        actual, predictions = _predicted(config, model, test_rows, scratch)
    finite = all_finite(predictions)
    tables = class_tables(actual, predictions) if isinstance(model.target, ClassTarget) else None
    scores = score(actual, predictions) if finite else {}
    constant = is_constant(predictions)
    del predictions
    baselines: dict[str, Scores] = {}
    for baseline in config.evaluation.baselines:
        predicted = predict_baseline(
            baseline,
            train,
            test,
            target=model.target,
            cardinalities=model.encoder.cardinalities,
            seed=config.training.seed,
            sample_rows=sample_rows,
        )
        baselines[baseline] = score(actual, predicted)
    notes = (
        baseline_note(baseline, train.n_rows, sample_rows=sample_rows)
        for baseline in config.evaluation.baselines
    )
    result = EvaluationResult(
        scores,
        baselines,
        finite=finite,
        constant=constant,
        classes=_class_rows(tables) if tables else (),
        predictions=out,
        notes=tuple(note for note in notes if note is not None),
    )
    return Evaluation(result, tables)


def score_champion(
    config: PipelineConfig, champion: FittedModel, version: str, test_rows: Iterable[pa.Table]
) -> ChampionScores:
    """Score the champion on tonight's raw test rows, through its own encoder.

    A champion that cannot predict these rows, or predicts something else, gets no scores and a
    problem instead.
    """
    actual: list[pa.ChunkedArray] = []
    parts: list[Predictions] = []
    for rows in test_rows:
        actual.append(_actual(config, rows))
        try:
            parts.append(_of_champion(config, champion, rows))
        except EvergreenError as error:
            return _without_scores(version, error)
    every = _chained(actual)
    try:
        scores = score(every, _on_classes(config, _joined(parts), every))
    except EvergreenError as error:
        return _without_scores(version, error)
    return ChampionScores(version, scores)


def _without_scores(version: str, error: EvergreenError) -> ChampionScores:
    return ChampionScores(version, None, " ".join(str(error).split()))


def _of_champion(config: PipelineConfig, champion: FittedModel, rows: pa.Table) -> Predictions:
    if champion.target.column != config.data.target or champion.task != config.data.task:
        raise EvergreenError(
            f"it predicts {champion.target.column!r} ({champion.task}), "
            f"not {config.data.target!r} ({config.data.task})"
        )
    predictions = champion.predictions(_known_columns(champion, rows))
    if not all_finite(predictions):
        raise EvergreenError("its predictions are not finite")
    if not isinstance(predictions.target, ClassTarget):
        return predictions
    raw = rows.schema.field(config.data.target)
    target = spelled_for(predictions.target, raw, config.data.classes)
    return replace(predictions, target=target)


def _predicted(
    config: PipelineConfig, model: FittedModel, test_rows: Iterable[pa.Table], out: Path
) -> tuple[pa.ChunkedArray, Predictions]:
    """Return true values and predictions of all rows; the file gets both, batch by batch."""
    actual: list[pa.ChunkedArray] = []
    parts: list[Predictions] = []
    with ExitStack() as stack:
        writer = None
        for rows in test_rows:
            actual.append(_actual(config, rows))
            parts.append(model.predictions(_known_columns(model, rows)))
            said = pa.Table.from_pandas(parts[-1].to_frame(), preserve_index=False)
            table = said.add_column(0, "actual", _as_labels(actual[-1], parts[-1]))
            writer = writer or stack.enter_context(pq.ParquetWriter(out, table.schema))
            writer.write_table(table)
    return _chained(actual), _joined(parts)


def _as_labels(actual: pa.ChunkedArray, predictions: Predictions) -> pa.ChunkedArray:
    """Return true values in the type that predictions have."""
    target = predictions.target
    if not isinstance(target, ClassTarget):
        return actual
    return pa.chunked_array([pa.array(target.labels(target.encode(actual)))])


def _chained(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    chunks = [chunk for column in columns for chunk in column.chunks]
    return pa.chunked_array(chunks, columns[0].type)


def _joined(parts: Sequence[Predictions]) -> Predictions:
    return Predictions(
        parts[0].target,
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.unseen for part in parts]),
    )


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
