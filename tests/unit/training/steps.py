"""Networks, batches and who steps them, for tests of single steps."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from pipeline_lib.config.data import Task
from pipeline_lib.config.training import LossSettings, TrainingSettings
from pipeline_lib.training.losses import TaskLoss
from pipeline_lib.training.optimizers import build_optimizers
from pipeline_lib.training.rows import TensorSplit
from pipeline_lib.training.step import Stepper

CPU = torch.device("cpu")
N_CODES = 40
SGD = {"kind": "sgd", "learning_rate": 0.1, "momentum": 0.0}


class Plain(nn.Module):
    """A network without BatchNorm and dropout, so that rows do not depend on each other."""

    def __init__(self, d_out: int) -> None:
        super().__init__()
        self.table = nn.Embedding(N_CODES, 4)
        self.hidden = nn.Linear(6, 16)
        self.head = nn.Linear(16, d_out)

    def forward(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        x = torch.cat([self.table(x_cat[:, 0]), x_num], dim=1)
        return self.head(torch.tanh(self.hidden(x)))


class Steep(nn.Module):
    """Its loss is finite where the gradient of its weight is not: a root at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        return torch.sqrt(self.weight).expand(len(x_num), 1)


def plain_network(d_out: int = 3) -> Plain:
    """Return a network with the same weights each time."""
    torch.manual_seed(0)
    return Plain(d_out)


def batch_of(n_rows: int = 60, *, n_classes: int = 3, seed: int = 0) -> TensorSplit:
    """Return rows of a classification, or of numbers where there are no classes."""
    random = torch.Generator().manual_seed(seed)
    x_num = torch.randn(n_rows, 2, generator=random)
    x_cat = torch.randint(0, N_CODES, (n_rows, 1), generator=random).to(torch.int32)
    if n_classes:
        return TensorSplit(x_cat, x_num, torch.randint(0, n_classes, (n_rows,), generator=random))
    return TensorSplit(x_cat, x_num, torch.randn(n_rows, generator=random))


def stepper_of(
    network: nn.Module,
    *,
    task: Task = "multiclass",
    loss: LossSettings | None = None,
    weights: Tensor | None = None,
    **training: Any,
) -> Stepper:
    """Return who steps a network, by SGD where nothing else is said."""
    settings = TrainingSettings.model_validate({"optimizer": SGD, "batch_size": "full", **training})
    optimizers = build_optimizers(settings.optimizer, network, sparse_above=settings.sparse_above)
    return Stepper(network, TaskLoss(task, loss, weights), optimizers, settings, CPU)


def gradients_of(network: nn.Module) -> dict[str, Tensor]:
    """Return dense gradients by name."""
    found = {}
    for name, weight in network.named_parameters():
        assert weight.grad is not None
        found[name] = weight.grad.to_dense()
    return found


def weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Return copies of weights by name."""
    return {name: weight.detach().clone() for name, weight in network.named_parameters()}


def torchs_own(
    network: nn.Module, batch: TensorSplit, loss: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, nn.Module]:
    """Return torch's loss of the whole batch, and a copy of the network with its gradients."""
    twin = copy.deepcopy(network)
    value = loss(twin(batch.x_cat, batch.x_num), batch.y)
    value.backward()
    return value.detach(), twin
