"""Each kind of optimizer takes the steps of torch's own."""

import copy
from collections.abc import Callable, Iterable

import numpy as np
import pytest
import torch
from torch import Tensor, nn, optim
from torch.nn import functional

from pipeline_lib.config.training import SGD, Adam, AdamW, OptimizerSettings, TrainingSettings
from pipeline_lib.models import EmbeddingMLP
from pipeline_lib.training.losses import TaskLoss
from pipeline_lib.training.optimizers import build_optimizer, build_optimizers
from pipeline_lib.training.rows import TensorSplit
from pipeline_lib.training.step import Stepper

Build = Callable[[Iterable[nn.Parameter]], optim.Optimizer]


@pytest.mark.parametrize(
    ("settings", "build"),
    [
        (Adam(learning_rate=0.02), lambda p: optim.Adam(p, lr=0.02)),
        (
            Adam(learning_rate=0.02, weight_decay=0.1),
            lambda p: optim.Adam(p, lr=0.02, weight_decay=0.1),
        ),
        (AdamW(learning_rate=0.02), lambda p: optim.AdamW(p, lr=0.02, weight_decay=0.01)),
        (
            AdamW(learning_rate=0.02, beta1=0.8, beta2=0.95),
            lambda p: optim.AdamW(p, lr=0.02, betas=(0.8, 0.95)),
        ),
        (
            Adam(learning_rate=0.02, beta1=0.8, beta2=0.95),
            lambda p: optim.Adam(p, lr=0.02, betas=(0.8, 0.95)),
        ),
        (SGD(learning_rate=0.02), lambda p: optim.SGD(p, lr=0.02, momentum=0.9)),
        (SGD(learning_rate=0.02, momentum=0), lambda p: optim.SGD(p, lr=0.02)),
        (
            SGD(learning_rate=0.02, nesterov=True, weight_decay=0.1),
            lambda p: optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.1),
        ),
    ],
    ids=[
        "adam",
        "adam-decay",
        "adamw",
        "adamw-betas",
        "adam-betas",
        "sgd-momentum",
        "sgd-plain",
        "sgd-nesterov",
    ],
)
def test_ten_steps_lead_where_torchs_own_optimizer_leads(
    settings: OptimizerSettings, build: Build
) -> None:
    ours = nn.Linear(5, 3)
    theirs = copy.deepcopy(ours)
    pairs = [
        (ours, build_optimizer(settings, ours.parameters())),
        (theirs, build(theirs.parameters())),
    ]

    for model, optimizer in pairs:
        generator = torch.Generator().manual_seed(0)
        for _ in range(10):
            optimizer.zero_grad()
            x = torch.randn(8, 5, generator=generator)
            model(x).pow(2).mean().backward()
            optimizer.step()

    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


N_CODES = 50


class _Tables(nn.Module):
    """A large table and a small one before a linear head; rows do not depend on each other."""

    def __init__(self) -> None:
        super().__init__()
        self.large, self.small = nn.Embedding(N_CODES, 3), nn.Embedding(5, 2)
        self.head = nn.Linear(5, 3)

    def forward(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        return self.head(torch.cat([self.large(x_cat[:, 0]), self.small(x_cat[:, 1])], dim=1))


def _tables() -> _Tables:
    torch.manual_seed(0)
    return _Tables()


def _batch(codes: list[int], *, seed: int = 0) -> TensorSplit:
    random = torch.Generator().manual_seed(seed)
    small = torch.randint(0, 5, (len(codes),), generator=random)
    y = torch.randint(0, 3, (len(codes),), generator=random)
    return TensorSplit(torch.stack([torch.tensor(codes), small], 1), torch.zeros(len(codes), 0), y)


def _random_batches(n: int) -> list[TensorSplit]:
    random = torch.Generator().manual_seed(1)
    rows = torch.randint(0, N_CODES, (n, 12), generator=random).tolist()
    return [_batch(codes, seed=number) for number, codes in enumerate(rows)]


def _stepper(network: nn.Module, settings: OptimizerSettings, sparse_above: int | None) -> Stepper:
    optimizers = build_optimizers(settings, network, sparse_above=sparse_above)
    training = TrainingSettings(optimizer=settings)
    return Stepper(network, TaskLoss("multiclass"), optimizers, training, torch.device("cpu"))


@pytest.mark.parametrize("decay_embeddings", [0.0, 0.2])
@pytest.mark.parametrize("kind", [SGD, AdamW], ids=["sgd", "adamw"])
def test_linear_weights_decay_and_biases_norms_and_embeddings_do_not_unless_told(
    kind: type[SGD] | type[AdamW], decay_embeddings: float
) -> None:
    network = EmbeddingMLP((9,), n_numeric=2, d_out=3, d_hidden=(8,))
    settings = kind(learning_rate=0.1, weight_decay=0.5, weight_decay_embeddings=decay_embeddings)
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    (optimizer,) = build_optimizers(settings, network, sparse_above=None)

    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()

    # decoupled decay and plain SGD without a gradient: w <- w (1 - rate * decay)
    linear = {"blocks.0.weight", "head.weight"}
    for name, weight in network.named_parameters():
        decay = 0.5 if name in linear else decay_embeddings * name.startswith("embeddings")
        torch.testing.assert_close(weight.detach(), before[name] * (1 - 0.1 * decay))


def test_large_tables_have_the_betas_of_all_weights() -> None:
    optimizers = build_optimizers(AdamW(beta1=0.8, beta2=0.95), _tables(), sparse_above=10)

    assert [type(o) for o in optimizers] == [optim.AdamW, optim.SparseAdam]
    assert {group["betas"] for o in optimizers for group in o.param_groups} == {(0.8, 0.95)}


def test_adam_pulls_linear_weights_alone_to_zero() -> None:
    network = EmbeddingMLP((9,), n_numeric=2, d_out=3, d_hidden=(8,))
    before = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    settings = Adam(learning_rate=1e-3, weight_decay=0.5)
    (optimizer,) = build_optimizers(settings, network, sparse_above=None)

    for weight in network.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()

    moved = {name for name, w in network.named_parameters() if not torch.equal(w, before[name])}
    assert moved == {"blocks.0.weight", "head.weight"}


@pytest.mark.parametrize("settings", [Adam(), AdamW(), SGD()], ids=["adam", "adamw", "sgd"])
@pytest.mark.parametrize("sparse_above", [None, 10])
def test_every_weight_belongs_to_exactly_one_optimizer(
    settings: OptimizerSettings, sparse_above: int | None
) -> None:
    network = _tables()

    optimizers = build_optimizers(settings, network, sparse_above=sparse_above)

    held = [id(w) for each in optimizers for group in each.param_groups for w in group["params"]]
    assert sorted(held) == sorted(id(weight) for weight in network.parameters())


@pytest.mark.parametrize(
    ("sparse_above", "is_sparse"), [(None, False), (N_CODES, False), (N_CODES - 1, True)]
)
def test_a_table_is_sparse_from_one_code_above_the_bound(
    sparse_above: int | None, is_sparse: bool
) -> None:
    network = _tables()

    optimizers = build_optimizers(Adam(), network, sparse_above=sparse_above)

    assert network.large.sparse is is_sparse
    assert network.small.sparse is False
    kinds = [type(optimizer) for optimizer in optimizers]
    assert kinds == [optim.Adam, *[optim.SparseAdam] * is_sparse]


@pytest.mark.parametrize(
    "settings",
    [SGD(), Adam(weight_decay_embeddings=0.1), AdamW(weight_decay_embeddings=0.1)],
    ids=["sgd", "adam-decay", "adamw-decay"],
)
def test_sgd_and_decaying_embeddings_keep_tables_dense(settings: OptimizerSettings) -> None:
    network = _tables()

    optimizers = build_optimizers(settings, network, sparse_above=2)

    assert len(optimizers) == 1
    assert (network.large.sparse, network.small.sparse) == (False, False)


def test_a_decaying_table_moves_also_where_a_batch_has_no_row() -> None:
    network = _tables()
    before = network.large.weight.detach().clone()
    settings = AdamW(weight_decay_embeddings=0.1)

    _stepper(network, settings, 10).step(_batch([3, 4]), seed=0)

    assert not bool((network.large.weight == before).all(dim=1).any())


def test_a_large_table_moves_only_the_rows_that_a_batch_holds() -> None:
    network = _tables()
    stepper = _stepper(network, Adam(learning_rate=0.01), 10)

    for batch in _random_batches(5):
        before = network.large.weight.detach().clone()
        stepper.step(batch, seed=0)

        moved = (network.large.weight != before).any(dim=1).nonzero()[:, 0].tolist()
        assert moved == sorted(set(batch.x_cat[:, 0].tolist()))


@pytest.mark.parametrize("n_parts", [1, 3])
def test_large_tables_equal_torchs_sparse_adam_and_the_rest_its_adam(n_parts: int) -> None:
    network, twin = _tables(), _tables()
    stepper = _stepper(network, Adam(learning_rate=0.02), 10)
    stepper.accumulation = n_parts
    twin.large.sparse = True
    rest = [weight for name, weight in twin.named_parameters() if name != "large.weight"]
    torchs = [optim.Adam(rest, lr=0.02), optim.SparseAdam([twin.large.weight], lr=0.02)]

    for batch in _random_batches(10):
        stepper.step(batch, seed=0)
        for optimizer in torchs:
            optimizer.zero_grad()
        functional.cross_entropy(twin(batch.x_cat, batch.x_num), batch.y).backward()
        for optimizer in torchs:
            optimizer.step()

    for name, weight in network.named_parameters():
        torch.testing.assert_close(
            weight, twin.get_parameter(name), msg=lambda m, n=name: f"{n}: {m}"
        )


def test_an_id_that_a_batch_holds_many_times_counts_once_with_the_summed_gradient() -> None:
    network = _tables()
    stepper = _stepper(network, Adam(learning_rate=0.02), 10)
    stepper.accumulation = 2
    table = network.large.weight.detach().double().numpy().copy()
    m, v = np.zeros_like(table), np.zeros_like(table)

    # Kingma & Ba 2015, algorithm 1, on the rows that a batch holds
    for t, codes in enumerate([[3, 3, 3, 3, 7, 3], [3, 7, 7, 7, 7, 7], [3, 3, 9, 9, 9, 9]], 1):
        batch = _batch(codes, seed=t)
        twin = _tables()
        twin.load_state_dict(network.state_dict())
        functional.cross_entropy(twin(batch.x_cat, batch.x_num), batch.y).backward()
        assert twin.large.weight.grad is not None
        summed = twin.large.weight.grad.double().numpy()
        held = sorted(set(codes))
        m[held] = 0.9 * m[held] + 0.1 * summed[held]
        v[held] = 0.999 * v[held] + 0.001 * summed[held] ** 2
        rate = 0.02 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        table[held] -= rate * m[held] / (np.sqrt(v[held]) + 1e-8)

        stepper.step(batch, seed=0)

        np.testing.assert_allclose(network.large.weight.detach().numpy(), table, atol=1e-5)


def test_the_first_step_on_a_large_table_is_that_of_dense_adam() -> None:
    sparse, dense = _tables(), _tables()
    batch = _batch([3, 3, 3, 8, 8, 1])

    _stepper(sparse, Adam(learning_rate=0.02), 10).step(batch, seed=0)
    _stepper(dense, Adam(learning_rate=0.02), None).step(batch, seed=0)

    torch.testing.assert_close(sparse.large.weight, dense.large.weight, rtol=0, atol=1e-5)
