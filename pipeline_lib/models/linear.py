"""Logistic and ridge regression: a weight per category, and one per number.

The loss is convex, so the optimum is the same wherever a fit begins: there are no epochs, and
nothing to take over from the champion. A code that no training row holds has a weight of exactly
0, which the weights of a column's codes have as their mean: it counts as an average category.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pipeline_lib.config.models import LinearSettings
from pipeline_lib.errors import TrainingError
from pipeline_lib.models.estimator import EstimatorKind, FitInput
from pipeline_lib.models.model import WEIGHTS_FILE, Dimensions, Model
from pipeline_lib.models.network import probabilities
from pipeline_lib.storage.json_files import Json

_BATCH_ROWS = 16_384
# Of the mean loss per row, whose curvature is of the order of 1.
_GRADIENT_TOLERANCE, _CHANGE_TOLERANCE = 1e-7, 1e-14
_HISTORY = 20

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LinearModel:
    """Weights of a linear model, float64 on the CPU.

    Shape:
        categories: ``(sum of cardinalities, d_out)``; numbers: ``(n_numeric, d_out)``;
        bias: ``(d_out,)``.
    """

    dimensions: Dimensions
    categories: Tensor
    numbers: Tensor
    bias: Tensor

    @torch.no_grad()
    def scores(
        self, x_cat: npt.NDArray[np.int32], x_num: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float64]:
        """See `Model.scores`."""
        logits = self.logits(torch.from_numpy(x_cat), torch.from_numpy(x_num))
        return (probabilities(logits) if self.dimensions.n_classes else logits).numpy()

    def logits(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        """Return logits, or standardized numbers, shape ``(n_rows, d_out)``."""
        logits = self.bias + x_num.to(self.bias) @ self.numbers
        if not self.dimensions.cardinalities:
            return logits
        codes = x_cat.long() + _starts(self.dimensions).to(x_cat.device)
        # A quarter of the time of `embedding_bag`, forward and backward (2026-12).
        found = self.categories.index_select(0, codes.flatten())
        return logits + found.view(*codes.shape, len(self.bias)).sum(dim=1)

    def save(self, folder: Path) -> Mapping[str, Json]:
        """See `Model.save`."""
        from safetensors.torch import save_file

        save_file(self._tensors(), folder / WEIGHTS_FILE)
        return {}

    @property
    def size(self) -> str:
        """See `Model.size`."""
        return f"{sum(weight.numel() for weight in self._tensors().values()):,} weights"

    def _tensors(self) -> dict[str, Tensor]:
        return {"categories": self.categories, "numbers": self.numbers, "bias": self.bias}


@dataclass(frozen=True)
class LinearKind(EstimatorKind):
    """`linear`: L-BFGS on all training rows; their weights have the mean 1 beside the penalty."""

    settings: LinearSettings

    @property
    def name(self) -> str:
        """See `Kind.name`."""
        return self.settings.kind

    def fit(self, given: FitInput) -> LinearModel:
        """See `EstimatorKind.fit`.

        Raises:
            TrainingError: the loss is not finite.
        """
        from scipy.optimize import minimize

        shapes, scale, n_passes = _shapes(given.dimensions), self._scale(given), 0

        def objective(scaled: Floats) -> tuple[float, Floats]:
            nonlocal n_passes
            value, gradient = self._gradient(_weights(scaled * scale, shapes), given)
            n_passes += 1
            given.report(n_passes, self.settings.max_passes)
            return value, gradient * scale

        found = minimize(
            objective,
            np.zeros_like(scale),
            jac=True,
            method="L-BFGS-B",
            options={
                "maxiter": self.settings.max_passes,
                "maxfun": self.settings.max_passes,
                "gtol": _GRADIENT_TOLERANCE,
                "ftol": _CHANGE_TOLERANCE,
                "maxcor": _HISTORY,
            },
        )
        weights = np.asarray(found.x, np.float64) * scale
        if not np.isfinite(weights).all():
            raise _not_finite()
        return LinearModel(given.dimensions, *_weights(weights, shapes))

    def refit(self, fitted: Model, given: FitInput) -> LinearModel:
        """See `EstimatorKind.refit`; nothing was chosen by the validation rows."""
        del fitted
        return self.fit(given)

    def load(self, folder: Path, spec: Mapping[str, Any], dimensions: Dimensions) -> LinearModel:
        """See `Kind.load`."""
        from safetensors.torch import load_file

        del spec
        weights = load_file(folder / WEIGHTS_FILE)
        shapes = _shapes(dimensions)
        for name, weight in weights.items():
            if tuple(weight.shape) != shapes.get(name) or weight.dtype != torch.float64:
                raise ValueError(f"the weights {name!r} have another shape or type")
        # Copies: what is read from a mapped file could still change after it was verified.
        return LinearModel(dimensions, *(weights[name].clone() for name in shapes))

    def _gradient(self, weights: list[Tensor], given: FitInput) -> tuple[float, Floats]:
        """Return the objective and its gradient, both divided by the rows."""
        rows, device = given.train, given.train.device
        # MPS has no float64.
        dtype = torch.float32 if device.type == "mps" else torch.float64
        placed = [weight.to(device, dtype).requires_grad_() for weight in weights]
        model = LinearModel(given.dimensions, *placed)
        penalty = self.settings.l2 / 2 / rows.n_rows
        total = penalty * (model.categories.square().sum() + model.numbers.square().sum())
        total.backward()
        value = total.detach()
        for batch in rows.in_order(_BATCH_ROWS):
            logits = model.logits(batch.x_cat, batch.x_num)
            loss = given.loss.summed(logits, batch.y, batch.weight) / rows.n_rows
            loss.backward()
            value = value + loss.detach()
        if not math.isfinite(float(value)):
            raise _not_finite()
        none = [torch.zeros_like(w) if w.grad is None else w.grad for w in placed]
        return float(value), torch.cat([g.flatten() for g in none]).cpu().double().numpy()

    def _scale(self, given: FitInput) -> Floats:
        """Return a length for each weight with which all have about the same curvature.

        Rare categories would take hundreds of passes more.
        """
        dimensions, rows = given.dimensions, given.train
        starts = _starts(dimensions)
        of_codes = torch.zeros(sum(dimensions.cardinalities), dtype=torch.float64)
        of_numbers = torch.zeros(dimensions.n_numeric, dtype=torch.float64)
        for batch in rows.in_order(_BATCH_ROWS):
            codes = (batch.x_cat.cpu().long() + starts).flatten()
            of_codes += torch.bincount(codes, minlength=len(of_codes))
            of_numbers += batch.x_num.cpu().double().square().sum(dim=0)
        curvature = torch.cat([of_codes, of_numbers]) / rows.n_rows / 4
        lengths = (curvature + self.settings.l2 / rows.n_rows).rsqrt().numpy()
        d_out = dimensions.d_out
        return np.concatenate([np.repeat(lengths, d_out), np.full(d_out, 2.0)])


def _weights(flat: Floats, shapes: Mapping[str, tuple[int, ...]]) -> list[Tensor]:
    sizes = [math.prod(shape) for shape in shapes.values()]
    parts = torch.from_numpy(flat).split(sizes)
    return [part.reshape(shape) for part, shape in zip(parts, shapes.values(), strict=True)]


def _starts(dimensions: Dimensions) -> Tensor:
    """Return the place of each column's first code among the weights of all columns."""
    return torch.tensor([0, *accumulate(dimensions.cardinalities)][:-1], dtype=torch.int64)


def _shapes(dimensions: Dimensions) -> dict[str, tuple[int, ...]]:
    return {
        "categories": (sum(dimensions.cardinalities), dimensions.d_out),
        "numbers": (dimensions.n_numeric, dimensions.d_out),
        "bias": (dimensions.d_out,),
    }


def _not_finite() -> TrainingError:
    return TrainingError(
        "the training loss is not finite. Nothing was registered. Look for extreme numbers in the "
        "data"
    )
