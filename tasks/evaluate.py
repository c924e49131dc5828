"""Measure the new model on the test rows, beside the baselines."""

import logging

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.splits.split_rows import SplitRows
from pipeline_lib.encoding.encoded_splits import EncodedData
from pipeline_lib.evaluation.results import EvaluationResult
from pipeline_lib.tracking.reference import RunReference
from tasks.train import Trained


@task(cache_policy=NO_CACHE)
def evaluate(
    config: PipelineConfig,
    rows: SplitRows,
    encoded: EncodedData,
    trained: Trained,
    run: RunReference,
) -> EvaluationResult:
    """Score the model on raw test rows; keep predictions, tables and pictures."""
    from pipeline_lib.evaluation.baselines import EncodedSplits
    from pipeline_lib.evaluation.evaluate import TEST_BATCH_ROWS, evaluate_model
    from pipeline_lib.evaluation.plots import plot_confusion, plot_reliability
    from pipeline_lib.serving import load_model
    from pipeline_lib.tracking.runs import TrackedRun

    tracked = TrackedRun.of(run)
    evaluation = evaluate_model(
        config,
        load_model(trained.model_folder),
        rows.batches("test", TEST_BATCH_ROWS),
        splits=EncodedSplits(encoded.open("train"), encoded.open("val"), encoded.open("test")),
        out=run.files.predictions,
        held=trained.held,
        fit_s=trained.fit_s,
    )
    result, tables = evaluation.result, evaluation.tables
    tracked.log_metrics({**result.of_test(), **result.of_baselines()})
    tracked.log_file(result.predictions, "tables")
    if tables is not None:
        tracked.log_text(tables.text, "tables/classification_report.txt")
        tracked.log_table(tables.report, "classes.csv")
        tracked.log_table(tables.confusion_frame(), "confusion.csv")
        tracked.log_figure(plot_confusion(tables.confusion, tables.classes), "confusion.png")
    if result.reliability is not None:
        tracked.log_figure(plot_reliability(result.reliability), "reliability.png")
    scores = ", ".join(f"{name} {value:.4f}" for name, value in result.scores.items())
    logger = get_run_logger()
    logger.info("evaluate  test: %s", scores)
    for note in result.notes:
        level = logging.WARNING if note in result.warnings else logging.INFO
        logger.log(level, "evaluate  %s", note)
    return result
