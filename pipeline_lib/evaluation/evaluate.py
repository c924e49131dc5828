"""The scores of a model on raw test rows, and of the baselines beside it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.baselines import Baseline
from pipeline_lib.data.contract.declared import conform, target_column
from pipeline_lib.encoding import ClassTarget, NumberTarget, target_from_json, target_to_json
from pipeline_lib.encoding.target import spelled_for
from pipeline_lib.errors import EvergreenError, ModelError, TrainingError
from pipeline_lib.evaluation.answers import Answers, Floats, Truth
from pipeline_lib.evaluation.baselines import SAMPLE_ROWS, EncodedSplits, predict_baseline
from pipeline_lib.evaluation.comparison import (
    Difference,
    Scores,
    deciding_metric,
    difference_to_chance,
    gain,
    paired_difference,
)
from pipeline_lib.evaluation.gate import ChampionScores
from pipeline_lib.evaluation.metrics import (
    all_finite,
    answers_of,
    is_constant,
    score_answers,
    truth_of,
)
from pipeline_lib.evaluation.reliability import reliability
from pipeline_lib.evaluation.results import ClassRow, EvaluationResult, HeldBaseline
from pipeline_lib.evaluation.row_weights import (
    WEIGHT,
    CountedRows,
    kept_weights,
    read_weights,
    weights_note,
)
from pipeline_lib.evaluation.tables import ClassTables, class_tables
from pipeline_lib.evaluation.worth import Worth, telling_metric
from pipeline_lib.serving import FittedModel, Predictions
from pipeline_lib.storage.replacing import replacing
from pipeline_lib.training.batches import EVAL_BATCH_ROWS
from pipeline_lib.wording import examples, first_line

# Raw test rows that are predicted at once, in one pass of the network.
TEST_BATCH_ROWS = EVAL_BATCH_ROWS
# Key of the target in the metadata of the file of test predictions.
_TARGET = b"evergreen.target"


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
    splits: EncodedSplits,
    out: Path,
    held: Mapping[Baseline, HeldBaseline] | None = None,
    fit_s: float | None = None,
    sample_rows: int = SAMPLE_ROWS,
) -> Evaluation:
    """Score a model on raw test rows, and the baselines beside it.

    All rows are predicted; those of weight 0 count nowhere. Of the rows only true values and
    predictions are held together, those of the model and of two baselines at a time. A baseline
    that cannot be trained is left out, with a warning.

    Args:
        config: task, target, baselines and the settings of their training.
        model: predicts the raw rows through its own encoder.
        test_rows: rows as they came, with the target, in batches of any size.
        splits: encoded rows, for the baselines; the same test rows, less those of weight 0.
        out: where the test predictions are kept, as parquet.
        held: baselines that the training has made; they are not trained again.
        fit_s: seconds that the model's training took, for the page.
        sample_rows: most training rows of a baseline.
    """
    with replacing(out) as scratch:
        actual, predictions = _predicted(config, model, test_rows, scratch)
    finite, weight = all_finite(predictions), kept_weights(out)
    counted = CountedRows.of(actual, weight)
    predictions = counted.of_predictions(predictions)
    truth = truth_of(counted.actual, model.target, counted.weight)
    tables = how_sure = None
    if isinstance(model.target, ClassTarget):
        tables = class_tables(counted.actual, predictions, counted.weight)
        if finite:
            labels = model.target.encode(counted.actual)
            how_sure = reliability(predictions.values, labels, counted.weight)
    ours = answers_of(predictions, truth)
    scores: Scores = score_answers(truth, ours) if finite else {}
    constant = is_constant(predictions)
    del actual, predictions, counted
    pa.default_memory_pool().release_unused()  # batches of rows, which are read by now
    metric = deciding_metric(config.primary, scores)
    chance = metric and difference_to_chance(metric, truth, ours, seed=config.training.seed)
    beside = _Baselines(config, truth, ours, scores)
    for baseline in dict.fromkeys(config.evaluation.baselines):
        beside.add(baseline, splits, model, (held or {}).get(baseline), sample_rows)
    worth = beside.worth()
    lines = [worth.line()] if worth is not None else []
    warnings = (*(lines if worth and not worth.is_better else []), *beside.warnings)
    of_weights = () if weight is None else (weights_note(str(config.data.weight), weight),)
    result = EvaluationResult(
        scores,
        beside.scores,
        finite=finite,
        constant=constant,
        classes=_class_rows(tables) if tables else (),
        predictions=out,
        notes=(*of_weights, *lines, *beside.warnings, *beside.notes),
        warnings=warnings,
        n_rows=truth.n_rows,
        against_constant=beside.against_constant,
        against_chance=chance,
        fit_s={**({} if fit_s is None else {"": fit_s}), **beside.fit_s},
        worth=worth,
        reliability=how_sure,
    )
    return Evaluation(result, tables)


@dataclass
class _Baselines:
    """What is found of the baselines, one after the other; the best one's answers are kept."""

    config: PipelineConfig
    truth: Truth
    ours: Answers
    of_model: Scores
    scores: dict[str, Scores] = field(default_factory=dict[str, Scores])
    fit_s: dict[str, float] = field(default_factory=dict[str, float])
    notes: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])
    against_constant: Difference | None = None
    _best: tuple[Baseline, Answers] | None = None

    def add(
        self,
        baseline: Baseline,
        splits: EncodedSplits,
        model: FittedModel,
        held: HeldBaseline | None,
        sample_rows: int,
    ) -> None:
        """Train a baseline, unless it is held, and score it."""
        if held is not None and held.is_model:
            self.scores[baseline], self.fit_s[baseline] = self.of_model, held.fit_s
            self.notes.append(held.note)
            return
        training = self.config.training
        try:
            found = predict_baseline(
                baseline, splits, model=model, training=training, held=held, sample_rows=sample_rows
            )
        except (TrainingError, ModelError) as error:
            self.warnings.append(f"the baseline {baseline} is left out: {first_line(error)}")
            return
        theirs = answers_of(found.predictions, self.truth)
        self.scores[baseline] = score_answers(self.truth, theirs)
        self.fit_s[baseline] = found.fit_s
        self.notes += [found.note] if found.note else []
        metric = deciding_metric(self.config.primary, self.of_model, self.scores[baseline])
        if metric is not None and baseline == "constant":
            self.against_constant = paired_difference(
                metric, self.truth, self.ours, theirs, seed=training.seed
            )
        if metric is not None and self._is_ahead(baseline):
            self._best = baseline, theirs

    def worth(self) -> Worth | None:
        """Return the model beside the best baseline; None if no metric compares them."""
        if self._best is None:
            return None
        baseline, theirs = self._best
        found, primary = self.scores[baseline], self.config.primary
        deciding = deciding_metric(primary, self.of_model, found)
        metric = telling_metric(primary, self.of_model, found)
        assert metric is not None, "only what can be compared is kept"
        seed = self.config.training.seed
        difference = paired_difference(metric, self.truth, self.ours, theirs, seed=seed)
        model, value = self.of_model[metric], found[metric]
        same = deciding if deciding != metric else None
        return Worth(baseline, model, value, self.fit_s[baseline], difference, same)

    def _is_ahead(self, baseline: Baseline) -> bool:
        """Return whether a baseline is better than the best one so far."""
        if self._best is None:
            return True
        found, best = self.scores[baseline], self.scores[self._best[0]]
        metric = telling_metric(self.config.primary, found, best)
        return metric is not None and gain(metric, found[metric], best[metric]) > 0


def score_champion(
    config: PipelineConfig,
    champion: FittedModel,
    version: str,
    test_rows: Iterable[pa.Table],
    *,
    challenger: Path,
) -> ChampionScores:
    """Score the champion on this run's raw test rows, and compare the new model with it.

    The champion goes through its own encoder; a class of these rows that it does not know has
    probability 0 in its answers. One that cannot predict these rows, predicts something else or
    knows none of their classes gets no scores and a problem instead.

    Args:
        config: task, target, primary metric and seed.
        champion: the model in use.
        version: its number.
        test_rows: as `evaluate_model` had them.
        challenger: the new model's test predictions, as `evaluate_model` kept them.
    """
    actual: list[pa.ChunkedArray] = []
    parts: list[Predictions] = []
    for rows in test_rows:
        actual.append(_actual(config, rows))
        try:
            parts.append(_of_champion(config, champion, rows))
        except EvergreenError as error:
            return ChampionScores(version, None, " ".join(str(error).split()))
    counted = CountedRows.of(_chained(actual), kept_weights(challenger))
    predictions = counted.of_predictions(read_predictions(challenger))
    truth = truth_of(counted.actual, predictions.target, counted.weight)
    joined = counted.of_predictions(_joined(parts))
    del actual, parts, counted
    pa.default_memory_pool().release_unused()  # batches of rows, which are read by now
    if problem := _shared_classes_problem(champion, joined, truth):
        return ChampionScores(version, None, problem)
    theirs = answers_of(joined, truth)
    notes = tuple(f"champion v{version}: {note}" for note in joined.notes)
    del joined
    scores = score_answers(truth, theirs)
    if not all_finite(predictions):
        return ChampionScores(version, scores, notes=notes)
    ours = answers_of(predictions, truth)
    del predictions
    metric = deciding_metric(config.primary, score_answers(truth, ours), scores)
    if metric is None:
        return ChampionScores(version, scores, notes=notes)
    seed = config.training.seed
    difference = paired_difference(metric, truth, ours, theirs, seed=seed)
    return ChampionScores(version, scores, difference=difference, notes=notes)


def _shared_classes_problem(champion: FittedModel, answers: Predictions, truth: Truth) -> str:
    """Return why the champion's classes are none of these rows'; empty if some are shared.

    The answers have the champion's classes as this run's typed target writes them.
    """
    target, spelled = champion.target, answers.target
    if not isinstance(target, ClassTarget) or not isinstance(spelled, ClassTarget):
        return ""
    if set(spelled.classes) & set(truth.classes):
        return ""
    return (
        f"it knows the classes {examples(target.classes)} of {target.column!r}, "
        f"this run's test rows hold {examples(truth.classes)}"
    )


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
    target = json.dumps(target_to_json(model.target))
    with ExitStack() as stack:
        writer = None
        for rows in test_rows:
            actual.append(_actual(config, rows))
            parts.append(model.predictions(_known_columns(model, rows)))
            said = pa.Table.from_pandas(parts[-1].to_frame(), preserve_index=False)
            weight = read_weights(config.data, rows)
            table = said.add_column(0, "actual", _as_labels(actual[-1], parts[-1], weight))
            if weight is not None:
                table = table.add_column(1, WEIGHT, pa.array(weight))
            table = table.replace_schema_metadata({**table.schema.metadata, _TARGET: target})
            writer = writer or stack.enter_context(pq.ParquetWriter(out, table.schema))
            writer.write_table(table)
    return _chained(actual), _joined(parts)


def read_predictions(path: Path) -> Predictions:
    """Read the test predictions that `evaluate_model` kept."""
    metadata = pq.read_schema(path).metadata
    target = target_from_json(json.loads(metadata[_TARGET]))
    names = ["prediction"]
    if isinstance(target, ClassTarget):
        names = [f"probability_{name}" for name in target.classes]
    columns = [pq.read_table(path, columns=[name])[name].to_numpy() for name in (*names, "unseen")]
    values = columns[0] if isinstance(target, NumberTarget) else np.stack(columns[:-1], axis=1)
    return Predictions(target, values, columns[-1])


def _as_labels(
    actual: pa.ChunkedArray, predictions: Predictions, weight: Floats | None
) -> pa.ChunkedArray:
    """Return true values in the type that predictions have."""
    target = predictions.target
    if not isinstance(target, ClassTarget):
        return actual
    if weight is None:
        return pa.chunked_array([pa.array(target.labels(target.encode(actual)))])
    # Rows of weight 0 may have a class that no row that counts has.
    numbers = pc.index_in(actual, value_set=pa.array(target.classes, pa.string()))
    return pa.chunked_array([pa.array(target.labels(np.arange(len(target.classes))))]).take(numbers)


def _chained(columns: Sequence[pa.ChunkedArray]) -> pa.ChunkedArray:
    chunks = [chunk for column in columns for chunk in column.chunks]
    return pa.chunked_array(chunks, columns[0].type)


def _joined(parts: Sequence[Predictions]) -> Predictions:
    return Predictions(
        parts[0].target,
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.unseen for part in parts]),
        tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _actual(config: PipelineConfig, rows: pa.Table) -> pa.ChunkedArray:
    target = config.data.target
    return conform(rows, {target: target_column(config.data)}, source="the test rows")[target]


def _known_columns(model: FittedModel, rows: pa.Table) -> pa.Table:
    """Return the columns that a model asks for, as far as they are there."""
    return rows.select([name for name in rows.column_names if name in model.encoder.columns])


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
