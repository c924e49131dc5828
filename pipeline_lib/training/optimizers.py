"""From settings to torch's optimizers: which weights decay, and which tables move row by row.

An embedding of a million rows makes dense Adam touch all of them at each step, though a batch
holds a thousand. Above a size its gradient is sparse and `SparseAdam` moves the batch's rows
alone; moments of the other rows stand still instead of decaying.
"""

from collections.abc import Iterable, Sequence
from typing import Any, assert_never, cast

import torch
from torch import nn, optim

from pipeline_lib.config.training import SGD, Adam, AdamW, OptimizerSettings


def build_optimizers(
    settings: OptimizerSettings, network: nn.Module, *, sparse_above: int | None
) -> list[optim.Optimizer]:
    """Build the optimizer of all weights and, where tables are large, a second one for those.

    Linear weights decay by `weight_decay`, embeddings by `weight_decay_embeddings`, biases and
    norms never. Tables with sparse gradients are marked as such in the network.
    """
    tables = [module for module in network.modules() if isinstance(module, nn.Embedding)]
    large = _sparse_tables(settings, tables, sparse_above)
    for table in large:
        table.sparse = True
    linear_maps = [module for module in network.modules() if isinstance(module, nn.Linear)]
    sparse = _weights(large)
    embedded = _weights([table for table in tables if table not in large])
    linear = _weights(linear_maps)
    taken = {id(weight) for weight in (*sparse, *embedded, *linear)}
    rest = [weight for weight in network.parameters() if id(weight) not in taken]
    by_decay: dict[float, list[nn.Parameter]] = {}  # one kernel a step for all of one decay
    for weights, decay in (
        (linear, settings.weight_decay),
        (embedded, settings.weight_decay_embeddings),
        (rest, 0.0),
    ):
        by_decay.setdefault(decay, []).extend(weights)
    groups = [{"params": w, "weight_decay": decay} for decay, w in by_decay.items() if w]
    optimizers = [build_optimizer(settings, groups)]
    if sparse:
        assert not isinstance(settings, SGD), "its tables are dense"
        betas = (settings.beta1, settings.beta2)
        optimizers.append(optim.SparseAdam(sparse, lr=settings.learning_rate, betas=betas))
    return optimizers


def _weights(modules: Sequence[nn.Module]) -> list[nn.Parameter]:
    return [cast("nn.Parameter", module.weight) for module in modules]


def _sparse_tables(
    settings: OptimizerSettings, tables: Sequence[nn.Embedding], sparse_above: int | None
) -> list[nn.Embedding]:
    if sparse_above is None or isinstance(settings, SGD) or settings.weight_decay_embeddings:
        return []
    return [table for table in tables if table.num_embeddings > sparse_above]


def build_optimizer(
    settings: OptimizerSettings, parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]]
) -> optim.Optimizer:
    """Build an optimizer over parameters; fused kernels where torch has them for the device."""
    match settings:
        case Adam():
            return optim.Adam(
                parameters,
                lr=settings.learning_rate,
                betas=(settings.beta1, settings.beta2),
                weight_decay=settings.weight_decay,
                fused=True,
            )
        case AdamW():
            return optim.AdamW(
                parameters,
                lr=settings.learning_rate,
                betas=(settings.beta1, settings.beta2),
                weight_decay=settings.weight_decay,
                fused=True,
            )
        case SGD():
            optimizer = optim.SGD(
                parameters,
                lr=settings.learning_rate,
                momentum=settings.momentum,
                nesterov=settings.nesterov,
                weight_decay=settings.weight_decay,
                fused=True,
            )
            if settings.momentum:
                _begin_momentum(optimizer)
            return optimizer
        case _:
            assert_never(settings)


def _begin_momentum(optimizer: optim.SGD) -> None:
    """Let momentum begin at zero, where the first step makes it the gradient all the same.

    torch's fused kernel (2.13) begins it with memory as it was found, and leaves it so if
    gradients overflow at the first step in half precision.
    """
    for group in optimizer.param_groups:
        for weight in group["params"]:
            optimizer.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
