"""The members of a tabular_mlp are networks of their own, and answer with their mean."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pipeline_lib import fit
from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.models import LinearSettings, TabularMLPSettings
from pipeline_lib.config.training import TrainingSettings
from pipeline_lib.models import Dimensions, Networks
from pipeline_lib.models.tabular_mlp import TabularMLP, TabularMLPKind
from pipeline_lib.training.losses import TaskLoss
from pipeline_lib.training.optimizers import build_optimizers
from pipeline_lib.training.rows import TensorSplit
from pipeline_lib.training.step import Stepper

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]

N_MEMBERS = 3
NO_DROPOUT: Mapping[str, Any] = {"dropout": 0, "dropout_category": 0}


def _rows(n_rows: int = 50, n_classes: int = 3) -> TensorSplit:
    random = torch.Generator().manual_seed(0)
    codes = [torch.randint(1, n, (n_rows,), generator=random) for n in (4, 6, 30)]
    x_num = torch.randn(n_rows, 2, generator=random)
    if n_classes:
        y = torch.randint(0, n_classes, (n_rows,), generator=random)
    else:
        y = torch.rand(n_rows, generator=random)
    return TensorSplit(torch.stack(codes, dim=1).int(), x_num, y)


def _network(n_classes: int = 3, **settings: Any) -> TabularMLP:
    d_out = n_classes if n_classes > 2 else 1
    torch.manual_seed(1)
    kind = TabularMLPKind(
        TabularMLPSettings.model_validate(
            {"d_hidden": (8, 7), "n_shared": N_MEMBERS, **NO_DROPOUT, **settings}
        )
    )
    return kind.build(Dimensions((4, 6, 30), 2, d_out, n_classes), _rows(n_classes=n_classes))


def _by_hand(network: TabularMLP, rows: TensorSplit, member: int) -> Tensor:
    """Return the logits of a member as of a network without the others."""
    parts = [*network.categories(rows.x_cat, torch.float32), *network.numbers(rows.x_num)]
    x, weights = torch.cat(parts, dim=1), network.state_dict()
    for layer in ("layers.0", "layers.1"):
        own = weights[f"{layer}.linear.weight"] * weights[f"{layer}.scale"][member]
        x = functional.relu(functional.linear(x, own, weights[f"{layer}.bias"][member]))
    head = weights["heads.weight"][member].T
    return functional.linear(x, head, weights["heads.bias"][member])


@pytest.mark.parametrize("n_classes", [0, 2, 3])
def test_each_member_is_a_network_with_scaled_weights(n_classes: int) -> None:
    network, rows = _network(n_classes), _rows(n_classes=n_classes)

    logits = network.train()(rows.x_cat, rows.x_num).unflatten(0, (-1, N_MEMBERS))

    for member in range(N_MEMBERS):
        torch.testing.assert_close(logits[:, member], _by_hand(network, rows, member))
    assert not torch.allclose(logits[:, 0], logits[:, 1], atol=1e-3)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_probabilities_of_members_are_averaged_not_their_logits(n_classes: int) -> None:
    network, rows = _network(n_classes), _rows(n_classes=n_classes)

    scores = Networks((network,), n_classes).scores(rows.x_cat.numpy(), rows.x_num.numpy())

    of_members = [_by_hand(network, rows, member).double() for member in range(N_MEMBERS)]
    if n_classes == 2:
        of_members = [torch.cat([torch.zeros_like(one), one], dim=1) for one in of_members]
    mean = torch.stack([one.softmax(dim=1) for one in of_members]).mean(dim=0)
    np.testing.assert_allclose(scores, mean.detach().numpy(), atol=1e-6)


def test_an_average_of_certain_members_is_finite() -> None:
    network, rows = _network(2), _rows(n_classes=2)
    with torch.no_grad():
        network.heads.bias.copy_(torch.tensor([[1e4], [-1e4], [1e4]]))

    scores = Networks((network,), 2).scores(rows.x_cat.numpy(), rows.x_num.numpy())

    np.testing.assert_allclose(scores[:, 1], 2 / 3, atol=1e-6)


def test_numbers_are_averaged_and_stay_within_those_of_training() -> None:
    network, rows = _network(0), _rows(n_classes=0)
    with torch.no_grad():
        network.heads.weight.mul_(3)
    mean = torch.stack([_by_hand(network, rows, m) for m in range(N_MEMBERS)]).mean(dim=0)

    scores = Networks((network,), 0).scores(rows.x_cat.numpy(), rows.x_num.numpy())

    inside = mean.clamp(float(rows.y.min()), float(rows.y.max())).detach().numpy()
    np.testing.assert_allclose(scores, inside, atol=1e-6)
    outside = (mean < rows.y.min()) | (mean > rows.y.max())
    assert bool(outside.any())
    assert not bool(outside.all())


@pytest.mark.parametrize("accumulation", [1, 4])
def test_the_loss_of_a_step_is_the_mean_of_the_members_losses(accumulation: int) -> None:
    network, rows = _network(), _rows()
    training = TrainingSettings(batch_size=64, accumulation=accumulation)
    optimizers = build_optimizers(training.optimizer, network, sparse_above=None)
    losses = [
        functional.cross_entropy(_by_hand(network, rows, m), rows.y) for m in range(N_MEMBERS)
    ]

    stepper = Stepper(
        network.train(), TaskLoss("multiclass", None), optimizers, training, rows.device
    )
    loss, _ = stepper.step(rows, seed=0)

    torch.testing.assert_close(loss, torch.stack(losses).mean().detach())


def test_signs_of_the_first_layer_differ_between_members_and_are_one_for_a_single_one() -> None:
    several, single = _network(), _network(n_shared=1)

    first, second = (several.state_dict()[f"layers.{layer}.scale"] for layer in (0, 1))
    assert set(first.unique().tolist()) == {-1.0, 1.0}
    assert not torch.equal(first[0], first[1])
    assert set(second.unique().tolist()) == {1.0}
    assert set(single.state_dict()["layers.0.scale"].unique().tolist()) == {1.0}


def test_a_code_that_no_training_row_held_counts_as_unseen() -> None:
    network = _network().eval()
    counts = [torch.ones(n, dtype=torch.int64) for n in (4, 6, 30)]
    for count in counts:
        count[1] = count[3] = 0
    untrained = torch.tensor([[1, 1, 1], [2, 3, 3]])
    unseen, x_num = torch.tensor([[0, 0, 0], [2, 0, 0]]), torch.randn(2, 2)
    before = network(untrained, x_num)

    network.fill_untrained(counts)

    assert not torch.allclose(before, network(unseen, x_num))
    torch.testing.assert_close(network(untrained, x_num), network(unseen, x_num))


def test_dropout_of_a_step_follows_from_its_seed() -> None:
    def loss(seed: int) -> Tensor:
        network, rows = _network(dropout=0.5, dropout_category=0.5), _rows()
        training = TrainingSettings(batch_size=64)
        optimizers = build_optimizers(training.optimizer, network, sparse_above=None)
        stepper = Stepper(
            network.train(), TaskLoss("multiclass", None), optimizers, training, rows.device
        )
        return stepper.step(rows, seed=seed)[0]

    assert torch.equal(loss(5), loss(5))
    assert not torch.equal(loss(5), loss(6))


@pytest.mark.parametrize(
    "layout",
    [{"n_borders": [3]}, {"n_borders": [3, -1]}, {"n_borders": [3, 10**9]}, {"n_borders": "ab"}],
)
def test_a_layout_of_other_numbers_is_refused(layout: Mapping[str, Any]) -> None:
    kind = TabularMLPKind(TabularMLPSettings())

    with pytest.raises(ValueError, match=r"border|invalid"):
        kind.rebuild(Dimensions((4,), 2, 1, 2), layout)


def test_what_is_saved_is_loaded_without_a_look_at_rows(tmp_path: Any) -> None:
    network, rows = _network(), _rows()
    kind = TabularMLPKind(TabularMLPSettings(d_hidden=(8, 7), n_shared=N_MEMBERS))
    model, dimensions = Networks((network,), 3), Dimensions((4, 6, 30), 2, 3, 3)

    spec = {"version": 2, **model.save(tmp_path)}
    loaded = kind.load(tmp_path, spec, dimensions)

    codes, numbers = rows.x_cat.numpy(), rows.x_num.numpy()
    np.testing.assert_array_equal(loaded.scores(codes, numbers), model.scores(codes, numbers))


@pytest.mark.parametrize("champion", [TabularMLPSettings(), LinearSettings()])
def test_it_says_that_it_starts_from_fresh_weights(
    champion: TabularMLPSettings | LinearSettings,
) -> None:
    assert "fresh weights" in TabularMLPKind(TabularMLPSettings()).obstacle(champion)


@pytest.mark.parametrize("column", ["color", "size"])
@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_one_column_of_either_type_is_enough(
    column: str, task: str, toy_table: MakeTable, table_config: MakeConfig
) -> None:
    table = toy_table(120, task=task).select([column, "label"])
    parts = pa.array(["train", "train", "val", "test"] * 30)
    tree = table_config(
        data={"task": task},
        split={"kind": "predefined", "column": "part"},
        validation={"duplicates": "warn"},
    ).model_dump(mode="json")
    tree["columns"] = {column: tree["columns"][column]}
    tree["model"] = {"kind": "tabular_mlp", "d_hidden": [8], "n_frequencies": 3}

    model = fit(PipelineConfig.model_validate(tree), table.append_column("part", parts))

    predicted = model.predict(table.drop_columns("label"))
    assert len(predicted) == 120
    assert bool(predicted.notna().all().all())
