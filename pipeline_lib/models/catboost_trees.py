"""Gradient-boosted trees of CatBoost, which encodes categories by ordered target statistics.

An extra, for the library is large. All rows are in memory. Saved as CatBoost's own JSON, without
pickle; probabilities are computed here, from raw values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline_lib.config.model_rules import CATBOOST_INSTALLATION
from pipeline_lib.config.models import CatBoostSettings
from pipeline_lib.config.training import Huber
from pipeline_lib.errors import TrainingError
from pipeline_lib.models.catboost_json import checked_json, n_trees
from pipeline_lib.models.estimator import BatchSource, EstimatorKind, FitInput
from pipeline_lib.models.model import Dimensions, Model
from pipeline_lib.scratch import scratch_folder
from pipeline_lib.storage.json_files import Json
from pipeline_lib.wording import first_line

if TYPE_CHECKING:
    import pandas as pd

TREES_FILE = "trees.json"
_BATCH_ROWS = 65_536
_ONE_THREAD_ROWS = 50_000  # below, threads mostly wait for each other


@dataclass(frozen=True)
class CatBoostModel:
    """Trees of CatBoost, read from `text`; `learning_rate` is the one that they were made with."""

    dimensions: Dimensions
    text: str = field(repr=False)
    trees: Any
    learning_rate: float

    def scores(
        self, x_cat: npt.NDArray[np.int32], x_num: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float64]:
        """See `Model.scores`."""
        n_classes = self.dimensions.n_classes
        if not len(x_cat):
            return np.zeros((0, max(n_classes, 1)))
        raw = np.asarray(
            self.trees.predict(
                _frame(x_cat, x_num),
                prediction_type="RawFormulaVal",
                thread_count=_n_threads(len(x_cat)),
            ),
            np.float64,
        ).reshape(len(x_cat), -1)
        if not n_classes:
            return raw
        logits = np.concatenate([np.zeros_like(raw), raw], axis=1) if n_classes == 2 else raw
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def save(self, folder: Path) -> Mapping[str, Json]:
        """See `Model.save`."""
        (folder / TREES_FILE).write_text(self.text, encoding="utf-8")
        return {"learning_rate": self.learning_rate}

    @property
    def size(self) -> str:
        """See `Model.size`."""
        return f"{n_trees(self.text):,} trees"


@dataclass(frozen=True)
class CatBoostKind(EstimatorKind):
    """`catboost`: early stopping on the validation loss."""

    settings: CatBoostSettings

    @property
    def name(self) -> str:
        """See `Kind.name`."""
        return self.settings.kind

    @property
    def files(self) -> tuple[str, ...]:
        """See `Kind.files`."""
        return (TREES_FILE,)

    @property
    def requirements(self) -> tuple[str, ...]:
        """See `Kind.requirements`."""
        return ("catboost",)

    def fit(self, given: FitInput) -> CatBoostModel:
        """See `EstimatorKind.fit`.

        Raises:
            TrainingError: CatBoost is not there, or cannot learn from the rows.
        """
        params: dict[str, object] = {
            "iterations": self.settings.max_rounds,
            "od_type": "Iter",
            "od_wait": self.settings.patience,
            "use_best_model": True,
        }
        if self.settings.learning_rate is not None:
            params["learning_rate"] = self.settings.learning_rate
        return self._fitted(given, params, given.val)

    def refit(self, fitted: Model, given: FitInput) -> CatBoostModel:
        """See `EstimatorKind.refit`: the chosen number of rounds, at the same learning rate.

        CatBoost would choose another rate for fewer rounds.
        """
        assert isinstance(fitted, CatBoostModel)
        params: dict[str, object] = {
            "iterations": max(n_trees(fitted.text), 1),
            "learning_rate": fitted.learning_rate,
        }
        return self._fitted(given, params, None)

    def load(self, folder: Path, spec: Mapping[str, Any], dimensions: Dimensions) -> CatBoostModel:
        """See `Kind.load`."""
        text = (folder / TREES_FILE).read_text("utf-8")
        return _read(text, dimensions, float(spec["learning_rate"]))

    def _fitted(
        self, given: FitInput, params: dict[str, object], val: BatchSource | None
    ) -> CatBoostModel:
        library, dimensions, loss = _catboost(), given.dimensions, given.training.loss
        n_classes = dimensions.n_classes
        params |= {
            "loss_function": "Logloss" if n_classes == 2 else "MultiClass" if n_classes else "RMSE",
            "depth": self.settings.depth,
            "random_seed": given.training.seed,
            "thread_count": _n_threads(given.train.n_rows),
            "logging_level": "Silent",
            "allow_writing_files": False,
        }
        if self.settings.l2_leaf_reg is not None:  # if it is set, CatBoost chooses no learning rate
            params["l2_leaf_reg"] = self.settings.l2_leaf_reg
        if n_classes > 2:
            params["classes_count"] = n_classes
        elif not n_classes and isinstance(loss, Huber):
            params["loss_function"] = f"Huber:delta={loss.delta}"
        trees, heard = library.CatBoost(params), _Reporting(given, int(str(params["iterations"])))
        train = _pool(library, given.train, dimensions, given.class_weights)
        eval_set = None if val is None else _pool(library, val, dimensions, None)
        try:
            trees.fit(train, eval_set=eval_set, callbacks=[heard])
        except library.CatBoostError as error:
            why = first_line(error).rpartition(": ")[2]
            raise TrainingError(f"CatBoost cannot learn from these rows: {why}") from error
        if heard.raised is not None:
            raise heard.raised
        with scratch_folder(None) as place:
            trees.save_model(str(place / TREES_FILE), format="json")
            text = (place / TREES_FILE).read_text("utf-8")
        # Read again, so that a saved model has the same numbers to the bit.
        return _read(text, dimensions, float(trees.learning_rate_))


class _Reporting:
    """Reports each round, and stops CatBoost where that raises: it would hide what was raised."""

    def __init__(self, given: FitInput, at_most: int) -> None:
        self._given, self._at_most = given, at_most
        self.raised: BaseException | None = None

    def after_iteration(self, info: SimpleNamespace) -> bool:
        """Return whether to go on."""
        try:
            self._given.report(int(info.iteration), self._at_most)
        except BaseException as error:  # noqa: BLE001 - raised again once CatBoost has returned
            self.raised = error
        return self.raised is None


def _read(text: str, dimensions: Dimensions, learning_rate: float) -> CatBoostModel:
    """Return the model of a text, once that is known to be sound.

    Raises:
        ValueError: it is not, or of other columns or classes.
    """
    library, n_classes = _catboost(), dimensions.n_classes
    n_codes, n_numeric = len(dimensions.cardinalities), dimensions.n_numeric
    checked = checked_json(
        text, n_codes=n_codes, n_numeric=n_numeric, n_outputs=n_classes if n_classes > 2 else 1
    )
    trees = library.CatBoost()
    with scratch_folder(None) as place:
        (place / TREES_FILE).write_text(checked, encoding="utf-8")
        trees.load_model(str(place / TREES_FILE), format="json")
    model = CatBoostModel(dimensions, checked, trees, learning_rate)
    nothing = np.zeros((1, n_codes), np.int32), np.zeros((1, n_numeric), np.float32)
    if not np.isfinite(model.scores(*nothing)).all():
        raise ValueError("the trees give no finite answers")
    return model


def _pool(
    library: Any, rows: BatchSource, dimensions: Dimensions, class_weights: torch.Tensor | None
) -> Any:
    batches = list(rows.in_order(_BATCH_ROWS))
    x_cat = torch.cat([batch.x_cat for batch in batches]).cpu().numpy()
    x_num = torch.cat([batch.x_num for batch in batches]).cpu().numpy()
    y = torch.cat([batch.y for batch in batches]).cpu()
    of_rows = [batch.weight for batch in batches if batch.weight is not None]
    weights = torch.cat(of_rows).cpu() if of_rows else None
    if class_weights is not None:
        of_class = class_weights.cpu()[y.long()]
        weights = of_class if weights is None else weights * of_class
    return library.Pool(
        _frame(x_cat, x_num),
        label=y.numpy(),
        weight=None if weights is None else weights.numpy(),
        cat_features=list(range(len(dimensions.cardinalities))),
    )


def _frame(x_cat: npt.NDArray[np.int32], x_num: npt.NDArray[np.float32]) -> "pd.DataFrame":
    """Return columns `f0`, `f1`, …: codes as integers, the only ones that may be categories."""
    import pandas as pd

    columns = [*x_cat.T, *x_num.T]
    return pd.DataFrame({f"f{number}": column for number, column in enumerate(columns)})


def _n_threads(n_rows: int) -> int:
    return 1 if n_rows < _ONE_THREAD_ROWS else torch.get_num_threads()


def _catboost() -> Any:
    """Return the library.

    Raises:
        TrainingError: it is not there, or cannot be loaded.
    """
    try:
        return import_module("catboost")
    except (ImportError, OSError) as error:
        raise TrainingError(
            f"CatBoost cannot be loaded: {first_line(error)}. `{CATBOOST_INSTALLATION}` brings it"
        ) from error
