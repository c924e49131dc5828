"""Pictures of a run: loss curves, confusion matrix, reliability. Figures, no global state."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from pipeline_lib.evaluation.reliability import Reliability
from pipeline_lib.shown import printable
from pipeline_lib.training.records import EpochRecord

_TRAIN, _VAL, _BEST = "#8a8f98", "#1b7f4b", "#c0392b"


def plot_losses(history: Sequence[EpochRecord], *, primary: str) -> Figure:
    """Draw both losses and the primary metric over epochs, with each member's best marked.

    Epochs of several members follow each other.
    """
    epochs = list(range(1, len(history) + 1))
    best = {
        record.member: epoch
        for epoch, record in zip(epochs, history, strict=True)
        if record.is_best
    }
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(epochs, [r.train_loss for r in history], color=_TRAIN, label="train")
    left.plot(epochs, [r.val_loss for r in history], color=_VAL, label="val")
    left.set_yscale("log")
    left.set_title("loss")
    values = [math.nan if r.primary is None else r.primary for r in history]
    right.plot(epochs, values, color=_VAL, label="val")
    right.set_title(primary if any(map(math.isfinite, values)) else f"{primary}: undefined")
    for axis in (left, right):
        for epoch in best.values():
            axis.axvline(epoch, color=_BEST, linewidth=1, linestyle=":", label="best epoch")
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.25)
        handles, names = axis.get_legend_handles_labels()
        by_name = dict(zip(names, handles, strict=True))
        axis.legend(by_name.values(), by_name.keys(), frameon=False)
    return figure


def plot_confusion(counts: npt.NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """Draw a confusion matrix; rows are the actual classes, colors their shares."""
    n, names = len(classes), [printable(name) for name in classes]
    side = min(max(3.2, 0.7 * n + 1.6), 16)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axis = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(shares, cmap="Greens", vmin=0, vmax=1)
    axis.set_xticks(range(n), names, rotation=45, ha="right", parse_math=False)
    axis.set_yticks(range(n), names, parse_math=False)
    axis.set_xlabel("predicted")
    axis.set_ylabel("actual")
    if n <= 25:
        for row, column in np.ndindex(n, n):
            color = "white" if shares[row, column] > 0.55 else "black"
            text = str(counts[row, column])
            axis.text(column, row, text, ha="center", va="center", color=color)
    return figure


def plot_reliability(reliability: Reliability) -> Figure:
    """Draw how often the model was right over how sure it was; on the diagonal it is calibrated."""
    figure = Figure(figsize=(4.2, 4), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color=_TRAIN, linewidth=1, linestyle=":", label="calibrated")
    said, found = ([getattr(b, key) for b in reliability.bins] for key in ("said", "found"))
    axis.plot(said, found, color=_VAL, marker="o", label="test rows")
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.set_xlabel("probability")
    axis.set_ylabel("how often right")
    axis.set_title(f"calibration error {reliability.error:.3f}")
    axis.grid(alpha=0.25)
    axis.legend(frameon=False)
    return figure
