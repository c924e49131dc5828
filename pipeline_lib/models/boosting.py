"""Gradient-boosted trees: LightGBM on the same encoded rows that networks see.

Saved as LightGBM's own text and, with target statistics, safetensors. The same rows, settings and
seed give the same trees whatever the number of threads.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline_lib.config.models import BoostingSettings
from pipeline_lib.config.training import Huber
from pipeline_lib.errors import TrainingError
from pipeline_lib.models.boosting_text import checked_trees
from pipeline_lib.models.estimator import EstimatorKind, FitInput
from pipeline_lib.models.model import WEIGHTS_FILE, Dimensions, Model
from pipeline_lib.models.target_statistics import (
    MAX_CLASSES,
    CrossFitted,
    StatisticsCounter,
    TargetStatistics,
    fold_of_rows,
)
from pipeline_lib.storage.json_files import Json
from pipeline_lib.wording import first_line

if TYPE_CHECKING:
    import lightgbm

TREES_FILE = "trees.txt"
# Below so many rows threads mostly wait for each other.
_ONE_THREAD_ROWS, _ONE_THREAD_ANSWERS = 50_000, 4_096


@dataclass(frozen=True)
class BoostingModel:
    """Trees, and the statistics that they see beside codes and numbers.

    Shape:
        of the trees' input: ``(n_rows, n_category_columns + n_numeric + statistics.width)``.
    """

    dimensions: Dimensions
    trees: "lightgbm.Booster"
    statistics: TargetStatistics
    n_rounds: int
    with_statistics: bool = False

    def scores(
        self, x_cat: npt.NDArray[np.int32], x_num: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float64]:
        """See `Model.scores`."""
        n_classes = self.dimensions.n_classes
        if not len(x_cat):
            return np.zeros((0, max(n_classes, 1)))
        inputs = np.concatenate([x_cat, x_num, self.statistics.features(x_cat)], axis=1)
        n_threads = 1 if len(x_cat) < _ONE_THREAD_ANSWERS else torch.get_num_threads()
        answers = np.asarray(
            self.trees.predict(inputs.astype(np.float64), num_threads=n_threads), np.float64
        )
        if n_classes == 2:
            return np.stack([1 - answers, answers], axis=1)
        return answers.reshape(len(inputs), -1)

    def save(self, folder: Path) -> Mapping[str, Json]:
        """See `Model.save`."""
        from safetensors.numpy import save_file

        # Without LightGBM's parameters, which are not read: the same trees are the same file.
        text = checked_trees(
            self.trees.model_to_string(num_iteration=self.n_rounds),
            width=_width(self.dimensions, self.statistics),
            n_per_round=_n_trees_per_round(self.dimensions),
        )
        (folder / TREES_FILE).write_text(text, encoding="utf-8")
        if self.with_statistics:
            save_file(self.statistics.arrays(), folder / WEIGHTS_FILE)
        return {"n_rounds": self.n_rounds}

    @property
    def size(self) -> str:
        """See `Model.size`."""
        return f"{self.trees.num_trees():,} trees"


@dataclass(frozen=True)
class BoostingKind(EstimatorKind):
    """`boosting`: LightGBM with early stopping on the validation loss."""

    settings: BoostingSettings

    @property
    def name(self) -> str:
        """See `Kind.name`."""
        return self.settings.kind

    @property
    def files(self) -> tuple[str, ...]:
        """See `Kind.files`."""
        return (TREES_FILE, *([WEIGHTS_FILE] if self.settings.target_statistics else []))

    @property
    def requirements(self) -> tuple[str, ...]:
        """See `Kind.requirements`."""
        return ("lightgbm",)

    def fit(self, given: FitInput) -> BoostingModel:
        """See `EstimatorKind.fit`.

        Raises:
            TrainingError: LightGBM is not there, or the validation loss is not finite.
        """
        lgb, dimensions = _lightgbm(), given.dimensions
        from pipeline_lib.models.boosting_rows import BoostingRows

        statistics, train = self._learned_from(given)
        trees = self._booster(lgb, train, given)
        val = BoostingRows(given.val, dimensions, statistics)
        trees.add_valid(val.dataset(self._dataset_params, given, reference=train), "val")
        best, best_loss, best_at = 0, math.inf, 0
        for number in range(1, self.settings.max_rounds + 1):
            # Says whether no leaf could be split; with other columns the next round may split one.
            trees.update()
            loss = float(trees.eval_valid()[0][2])
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the validation loss is not finite in round {number}. Nothing was "
                    "registered. Look for extreme numbers in the data"
                )
            if loss < best_loss:
                best, best_loss, best_at = trees.current_iteration(), loss, number
            given.report(number, self.settings.max_rounds)
            if number - best_at >= self.settings.patience:
                break
        return self._whole(lgb, dimensions, trees, statistics, best)

    def refit(self, fitted: Model, given: FitInput) -> BoostingModel:
        """See `EstimatorKind.refit`: as many rounds as the validation loss chose."""
        assert isinstance(fitted, BoostingModel)
        lgb = _lightgbm()
        statistics, train = self._learned_from(given)
        trees = self._booster(lgb, train, given)
        for number in range(1, fitted.n_rounds + self.settings.patience + 1):
            trees.update()
            given.report(number, fitted.n_rounds + self.settings.patience)
            if trees.current_iteration() >= fitted.n_rounds:
                break
        return self._whole(lgb, given.dimensions, trees, statistics, fitted.n_rounds)

    def load(self, folder: Path, spec: Mapping[str, Any], dimensions: Dimensions) -> BoostingModel:
        """See `Kind.load`."""
        from safetensors.numpy import load_file

        lgb = _lightgbm()
        arrays = dict[str, npt.NDArray[np.float32]]()
        if WEIGHTS_FILE in self.files:
            # Copies: what is read from a mapped file could change after it was verified.
            found = load_file(folder / WEIGHTS_FILE)
            arrays = {name: array.copy() for name, array in found.items()}
        statistics = TargetStatistics.read(arrays, dimensions.cardinalities)
        text = checked_trees(
            (folder / TREES_FILE).read_text("utf-8"),
            width=_width(dimensions, statistics),
            n_per_round=_n_trees_per_round(dimensions),
        )
        trees = lgb.Booster(model_str=text)
        with_statistics = self.settings.target_statistics
        return BoostingModel(dimensions, trees, statistics, int(spec["n_rounds"]), with_statistics)

    def _learned_from(self, given: FitInput) -> "tuple[TargetStatistics, lightgbm.Dataset]":
        """Return the statistics of all of `train`, and `train` as LightGBM wants it."""
        from pipeline_lib.models.boosting_rows import BoostingRows

        dimensions = given.dimensions
        if not self.settings.target_statistics or dimensions.n_classes > MAX_CLASSES:
            statistics = crossed = TargetStatistics((), ())
        else:
            statistics, crossed = _statistics(given)
        rows = BoostingRows(given.train, dimensions, crossed)
        return statistics, rows.dataset(self._dataset_params, given)

    def _booster(self, lgb: Any, train: "lightgbm.Dataset", given: FitInput) -> "lightgbm.Booster":
        settings, dimensions, loss = self.settings, given.dimensions, given.training.loss
        n_classes = dimensions.n_classes
        params: dict[str, object] = {
            **self._dataset_params,
            **settings.model_dump(include=_TREE_SETTINGS),
            "bagging_freq": 1,
            "seed": given.training.seed,
            "num_threads": _n_threads(given.train.n_rows),
        }
        if n_classes > 2:
            params |= {"objective": "multiclass", "num_class": n_classes}
        elif n_classes:
            params |= {"objective": "binary"}
        elif isinstance(loss, Huber):
            params |= {"objective": "huber", "alpha": loss.delta}
        else:
            params |= {"objective": "regression"}
        return lgb.Booster(params, train)

    def _whole(
        self,
        lgb: Any,
        dimensions: Dimensions,
        trees: "lightgbm.Booster",
        statistics: TargetStatistics,
        n_rounds: int,
    ) -> BoostingModel:
        """Return the model with the trees of the first rounds alone, and no training rows."""
        text = trees.model_to_string(num_iteration=n_rounds)
        whole, with_statistics = lgb.Booster(model_str=text), self.settings.target_statistics
        return BoostingModel(dimensions, whole, statistics, n_rounds, with_statistics)

    @property
    def _dataset_params(self) -> dict[str, object]:
        settings = self.settings
        return {
            "verbosity": -1,
            "deterministic": True,
            "force_row_wise": True,
            "min_data_in_leaf": settings.min_child_samples,
            "max_cat_to_onehot": settings.max_cat_to_onehot,
            # Columns without any split stay, or the file would not have the encoder's width.
            "feature_pre_filter": False,
        }


_TREE_SETTINGS = {
    "learning_rate",
    "num_leaves",
    "feature_fraction",
    "bagging_fraction",
    "cat_smooth",
    "cat_l2",
    "min_data_per_group",
    "lambda_l2",
}


def _statistics(given: FitInput) -> tuple[TargetStatistics, CrossFitted]:
    """Return the statistics of all training rows, and for each row those of the other folds."""
    from pipeline_lib.models.boosting_rows import BATCH_ROWS, outputs_of

    dimensions, start = given.dimensions, 0
    folds = fold_of_rows(given.train.n_rows, seed=given.training.seed)
    counter = StatisticsCounter(dimensions.cardinalities, _n_trees_per_round(dimensions))
    for batch in given.train.in_order(BATCH_ROWS):
        x_cat = batch.x_cat.cpu().numpy()
        stop = start + len(x_cat)
        weights = None if batch.weight is None else batch.weight.cpu().double().numpy()
        counter.add(x_cat, outputs_of(batch.y, dimensions), folds[start:stop], weights)
        start = stop
    return counter.statistics(), CrossFitted.of(counter, folds)


def _n_threads(n_rows: int) -> int:
    return 1 if n_rows < _ONE_THREAD_ROWS else torch.get_num_threads()


def _width(dimensions: Dimensions, statistics: TargetStatistics) -> int:
    """Return the number of columns that trees see."""
    return len(dimensions.cardinalities) + dimensions.n_numeric + statistics.width


def _n_trees_per_round(dimensions: Dimensions) -> int:
    return dimensions.n_classes if dimensions.n_classes > 2 else 1


def _lightgbm() -> Any:
    """Return the library.

    Raises:
        TrainingError: it is not there, or cannot be loaded.
    """
    try:
        import lightgbm
    except (ImportError, OSError) as error:
        raise TrainingError(
            f"LightGBM cannot be loaded: {first_line(error)}. `pip install lightgbm` brings it; on "
            "Linux it also needs libgomp"
        ) from error
    return lightgbm
