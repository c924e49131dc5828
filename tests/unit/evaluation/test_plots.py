"""Pictures hold the numbers they were given."""

import io

import numpy as np
import pytest

from pipeline_lib.evaluation.plots import plot_confusion, plot_losses
from pipeline_lib.training.records import EpochRecord


def test_the_loss_plot_has_both_losses_the_metric_and_the_best_epoch() -> None:
    history = [EpochRecord(i, 1 / i, 2 / i, i / 10, 0.1, 0.5, is_best=i < 3) for i in (1, 2, 3)]

    left, right = plot_losses(history, primary="macro_f1").axes

    curves = {str(line.get_label()): np.asarray(line.get_ydata()) for line in left.lines}
    np.testing.assert_allclose(curves["train"], [1, 1 / 2, 1 / 3])
    np.testing.assert_allclose(curves["val"], [2, 1, 2 / 3])
    assert right.get_title() == "macro_f1"
    assert [list(line.get_xdata()) for line in left.lines][-1] == [2, 2]


def test_a_metric_that_is_never_defined_leaves_its_plot_empty_and_says_so() -> None:
    history = [EpochRecord(i, 1.0, 2.0, None, 0.1, 0.5, is_best=i == 1) for i in (1, 2)]

    figure = plot_losses(history, primary="roc_auc")

    figure.savefig(io.BytesIO())
    right = figure.axes[1]
    assert right.get_title() == "roc_auc: undefined"
    assert np.isnan(np.asarray(right.lines[0].get_ydata(), float)).all()


def test_epochs_of_several_members_follow_each_other_and_each_has_its_best() -> None:
    history = [
        EpochRecord(epoch, 1.0, 1.0, 0.5, 0.1, 0.5, is_best=epoch == 1, member=member)
        for member in (1, 2)
        for epoch in (1, 2)
    ]

    left, _ = plot_losses(history, primary="macro_f1").axes

    assert list(left.lines[0].get_xdata()) == [1, 2, 3, 4]
    assert [list(line.get_xdata()) for line in left.lines[2:]] == [[1, 1], [3, 3]]
    legend = left.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["train", "val", "best epoch"]


def test_every_cell_of_a_confusion_matrix_shows_its_count() -> None:
    counts = np.array([[5, 1], [0, 7]])

    (axis,) = plot_confusion(counts, ["a", "b"]).axes

    assert [text.get_text() for text in axis.texts] == ["5", "1", "0", "7"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]


def test_a_class_without_rows_divides_by_no_zero() -> None:
    figure = plot_confusion(np.array([[0, 0], [1, 2]]), ["a", "b"])

    image = figure.axes[0].images[0].get_array()
    assert np.isfinite(np.asarray(image)).all()


@pytest.mark.parametrize("name", ["$10%-$20%", "$a_$", "$5^$", "a\\b{", "emoji 🌲"])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_a_class_of_any_name_can_be_drawn(name: str) -> None:
    figure = plot_confusion(np.eye(2, dtype=np.int64), [name, "other"])

    figure.savefig(io.BytesIO())
