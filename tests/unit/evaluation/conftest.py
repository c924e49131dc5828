"""Fitted models with their splits, as an evaluation finds them."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from pipeline_lib import fit
from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.baselines import Baseline
from pipeline_lib.encoding import EncodedSplit
from pipeline_lib.encoding.tensors import SplitFile
from pipeline_lib.evaluation.baselines import BaselineAnswers, EncodedSplits, predict_baseline
from pipeline_lib.evaluation.evaluate import Evaluation, evaluate_model, score_champion
from pipeline_lib.evaluation.gate import ChampionScores
from pipeline_lib.evaluation.results import HeldBaseline
from pipeline_lib.fitting import split_rows
from pipeline_lib.serving import FittedModel
from tests.unit.encoding.in_memory import write_split

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


class Fitted(NamedTuple):
    """A model with the splits it came from."""

    config: PipelineConfig
    model: FittedModel
    splits: EncodedSplits
    test_rows: pa.Table

    def evaluate(
        self,
        out: Path,
        model: FittedModel | None = None,
        *,
        batch_rows: int = 1000,
        sample_rows: int = 1000,
        held: dict[Baseline, HeldBaseline] | None = None,
    ) -> Evaluation:
        """Evaluate the model, or another one in its place."""
        return evaluate_model(
            self.config,
            model or self.model,
            self.batches(batch_rows),
            splits=self.splits,
            out=out / "predictions.parquet",
            held=held,
            sample_rows=sample_rows,
        )

    def as_champion(
        self, out: Path, champion: FittedModel | None = None, rows: Iterable[pa.Table] | None = None
    ) -> ChampionScores:
        """Hold the model, or another one, against itself as the champion's challenger."""
        no_baselines = self.config.evaluation.model_copy(update={"baselines": ()})
        config = self.config.model_copy(update={"evaluation": no_baselines})
        result = self._replace(config=config).evaluate(out).result
        return score_champion(
            self.config,
            champion or self.model,
            "4",
            [self.test_rows] if rows is None else rows,
            challenger=result.predictions,
        )

    def batches(self, n_rows: int) -> list[pa.Table]:
        """Return the raw test rows, so many at a time."""
        starts = range(0, self.test_rows.num_rows, n_rows)
        return [self.test_rows.slice(start, n_rows) for start in starts]

    def of_baseline(
        self, baseline: Baseline, sample_rows: int = 1000, **training: Any
    ) -> BaselineAnswers:
        """Return what a baseline says, with some settings of the training."""
        return predict_baseline(
            baseline,
            self.splits,
            model=self.model,
            training=self.config.training.model_copy(update=training),
            sample_rows=sample_rows,
        )


MakeFitted = Callable[[str], Fitted]


@pytest.fixture(scope="session")
def make_fitted(
    tmp_path_factory: pytest.TempPathFactory, table_config: MakeConfig, toy_table: MakeTable
) -> MakeFitted:
    """Return a factory of fitted models by task, each fitted once."""
    made: dict[str, Fitted] = {}

    def make(task: str) -> Fitted:
        if task not in made:
            config = table_config(data={"task": task}, training={"epochs": 20})
            table = toy_table(400, task=task)
            model = fit(config, table)
            parts = split_rows(table, config)
            folder = tmp_path_factory.mktemp(task)
            files = [
                _written(folder / f"{number}.parquet", rows, model)
                for number, rows in enumerate(parts)
            ]
            made[task] = Fitted(config, model, EncodedSplits(*files), parts[2])
        return made[task]

    return make


def _written(path: Path, rows: pa.Table, model: FittedModel) -> SplitFile:
    split = EncodedSplit.of(rows, model.encoder, model.target)
    write_split(path, split, model.encoder, model.target)
    return SplitFile(path, model.encoder)
