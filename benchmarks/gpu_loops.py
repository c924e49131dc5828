"""The contestants of the GPU benchmark: the product's own loop with different settings and rows.

`TrainingLoop` drives all of them, so what differs is what a user may set, and how rows arrive: as
`TensorSplit`, on the device, or out of torch's `DataLoader`, as most scripts have them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from pipeline_lib.config.models import EmbeddingMLPSettings
from pipeline_lib.config.training import TrainingSettings
from pipeline_lib.models import Dimensions, Network
from pipeline_lib.models.embedding_mlp import EmbeddingMLPKind
from pipeline_lib.training.loop import TrainingLoop
from pipeline_lib.training.rows import TensorSplit

N_NUMERIC, N_CLASSES = 5, 4
PREFETCH = 2
SPARSE_ABOVE = 10_000
LOADER = "DataLoader, pinned, workers"
_SMALL = (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5115)
_VAL_ROWS = 256
_SEED = 0

CHECK_STEPS = 5
# Largest differences of a loss and of the weights' move. Of millions of values before a ReLU some
# lie within rounding of 0 and fall on the other side, and the weights that follow differ.
TOLERANCES = 5e-4, 0.02
HALF_TOLERANCES = 5e-3, 0.2


@dataclass(frozen=True)
class Entrant:
    """A contestant: what it sets, where it runs, with which tables.

    Attributes:
        settings: of `training`, beside batch size and device.
        is_loaded: rows come out of a `DataLoader`.
        needs_cuda: it is left out elsewhere.
        with_small, with_large: the tables that it takes part with.
    """

    settings: dict[str, object]
    is_loaded: bool = False
    needs_cuda: bool = False
    with_small: bool = True
    with_large: bool = True

    @property
    def is_sparse(self) -> bool:
        """Whether long tables have sparse gradients."""
        return self.settings.get("sparse_above") is not None

    @property
    def is_half(self) -> bool:
        """Whether activations are in half precision."""
        return self.settings.get("precision", "float32") != "float32"


_COMPILED: dict[str, object] = {"compile": True, "sparse_above": None}
EAGER = "resident, eager"
ENTRANTS = {
    LOADER: Entrant({"sparse_above": None}, is_loaded=True),
    EAGER: Entrant({"sparse_above": None}),
    "resident, eager, bf16": Entrant({"sparse_above": None, "precision": "bf16"}),
    "resident, eager, SparseAdam": Entrant({"sparse_above": SPARSE_ABOVE}, with_small=False),
    "resident, compiled": Entrant(_COMPILED, needs_cuda=True, with_large=False),
    "resident, compiled, CUDA graphs": Entrant(
        {**_COMPILED, "cuda_graphs": True}, needs_cuda=True, with_large=False
    ),
}


def cardinalities(table: str, *, quick: bool = False) -> tuple[int, ...]:
    """Return the codes of each column: 9,000 in all, or in the "large" table a million more.

    Args:
        table: "small" or "large".
        quick: make the long column one of 20,000 codes, for a look on a CPU.
    """
    if table == "small":
        return _SMALL
    return (*_SMALL[:-1], 20_000 if quick else 1_000_000)


def network(sizes: tuple[int, ...], *, dropout: float) -> Network:
    """Return the product's network of widths 200, 100, 50, drawn from the seed on the CPU."""
    torch.manual_seed(_SEED)
    settings = EmbeddingMLPSettings(dropout=dropout, dropout_embedding=dropout)
    dimensions = Dimensions(sizes, N_NUMERIC, N_CLASSES, N_CLASSES)
    return EmbeddingMLPKind(settings).build(dimensions, synthetic_rows(sizes, 2))


def synthetic_rows(sizes: tuple[int, ...], n_rows: int) -> TensorSplit:
    """Return rows on the CPU: codes skewed to the low ones, and labels that follow from them."""
    random = np.random.default_rng(_SEED)
    worth = [random.normal(size=n) for n in sizes]
    codes = [(size * random.random(n_rows) ** 2).astype(np.int32) for size in sizes]
    numbers = random.standard_normal((n_rows, N_NUMERIC), np.float32)
    score = sum((w[c] for w, c in zip(worth, codes, strict=True)), numbers[:, 0] - numbers[:, 1])
    y = np.digitize(score + random.normal(size=n_rows), [-2.0, 0.0, 2.0]).astype(np.int64)
    parts = (np.stack(codes, axis=1), numbers, y)
    return TensorSplit(*(torch.from_numpy(part) for part in parts))


def on_device(rows: TensorSplit, device: torch.device) -> TensorSplit:
    """Return the rows on a device."""
    return TensorSplit(rows.x_cat.to(device), rows.x_num.to(device), rows.y.to(device))


@dataclass(frozen=True)
class LoadedRows:
    """Rows that stay in the CPU's memory and come in batches out of a `DataLoader`."""

    held: TensorSplit
    device: torch.device
    n_workers: int

    @property
    def n_rows(self) -> int:
        """The number of rows."""
        return self.held.n_rows

    @property
    def size_bytes(self) -> int:
        """The device's memory that they take: a batch at a time, which counts as none."""
        return 0

    @cached_property
    def _dataset(self) -> TensorDataset:
        return TensorDataset(self.held.x_cat, self.held.x_num, self.held.y)

    def batches(
        self, bounds: "list[tuple[int, int]]", *, seed: int, first_step: int = 0
    ) -> Iterator[TensorSplit]:
        """Yield shuffled batches, in the order in which `TensorSplit.batches` yields them."""
        numbers = TensorSplit(*[torch.arange(self.n_rows)[:, None]] * 2, torch.arange(self.n_rows))
        order = [batch.y.tolist() for batch in numbers.batches(bounds, seed=seed)]
        loader = DataLoader(
            self._dataset,
            batch_sampler=order[first_step:],
            num_workers=self.n_workers,
            prefetch_factor=PREFETCH if self.n_workers else None,
            pin_memory=self.device.type == "cuda",
        )
        for parts in loader:
            yield TensorSplit(*(part.to(self.device, non_blocking=True) for part in parts))

    def in_order(self, batch_rows: int) -> Iterator[TensorSplit]:
        """Yield all rows as they lie."""
        for batch in self.held.in_order(batch_rows):
            yield on_device(batch, self.device)


def training_loop(
    entrant: Entrant,
    sizes: tuple[int, ...],
    rows: TensorSplit | LoadedRows,
    *,
    batch: int,
    dropout: float,
    epochs: int,
    optimizer: str = "adam",
) -> TrainingLoop:
    """Return the product's loop over the rows, with the contestant's settings."""
    held = rows.held if isinstance(rows, LoadedRows) else rows
    settings = {
        "epochs": epochs,
        "batch_size": batch,
        "optimizer": {"kind": optimizer},
        "device": rows.device.type,
        "seed": _SEED,
        **entrant.settings,
    }
    return TrainingLoop(
        network(sizes, dropout=dropout).to(rows.device),
        rows,
        on_device(held.slice(0, _VAL_ROWS), rows.device),
        task="multiclass",
        primary="accuracy",
        training=TrainingSettings.model_validate(settings),
        n_classes=N_CLASSES,
    )


@dataclass(frozen=True)
class Difference:
    """How far a contestant is from the float32 loop on the CPU; NaN counts as wrong.

    Attributes:
        loss: largest absolute difference of an epoch's training or validation loss.
        move: norm of the weights' difference over the norm of their move; None where Adam alone
            can move them, which takes rounding noise for a gradient.
        is_half: whether activations were in half precision.
    """

    loss: float
    move: float | None
    is_half: bool

    @property
    def is_right(self) -> bool:
        """Whether every difference is within its tolerance."""
        loss, move = HALF_TOLERANCES if self.is_half else TOLERANCES
        return self.loss <= loss and (self.move is None or self.move <= move)


def difference(
    entrant: Entrant,
    sizes: tuple[int, ...],
    cpu_rows: TensorSplit,
    rows: "TensorSplit | LoadedRows",
) -> Difference:
    """Let a contestant learn a few steps without dropout, and the CPU the same.

    SGD moves the weights, by their gradients; where tables are sparse, Adam does.

    Args:
        entrant: what is set.
        sizes: codes of each column.
        cpu_rows: `CHECK_STEPS` batches on the CPU.
        rows: the same, as the contestant has them.
    """
    optimizer = "adam" if entrant.is_sparse else "sgd"
    plain = Entrant({"sparse_above": entrant.settings.get("sparse_above")})
    batch = cpu_rows.n_rows // CHECK_STEPS
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for who, its_rows in ((plain, cpu_rows), (entrant, rows)):
        loop = training_loop(
            who, sizes, its_rows, batch=batch, dropout=0.0, epochs=2, optimizer=optimizer
        )
        before = _weights(loop)
        losses = [(record.train_loss, record.val_loss) for record in loop.epochs()]
        found.append((torch.tensor(losses, dtype=torch.float64), before, _weights(loop)))
    (losses, before, after), (its_losses, _, its_after) = found
    off = torch.linalg.vector_norm(its_after - after)
    move = float(off / torch.linalg.vector_norm(after - before))
    loss = float((its_losses - losses).abs().max())
    return Difference(loss, None if entrant.is_sparse else move, entrant.is_half)


def _weights(loop: TrainingLoop) -> Tensor:
    flat = [weight.detach().flatten() for weight in loop.model.parameters()]
    return torch.cat(flat).to("cpu", torch.float64, copy=True)
