"""From settings to one of torch's optimizers."""

from collections.abc import Iterable
from typing import assert_never

from torch import nn, optim

from pipeline_lib.config import SGD, Adam, AdamW, OptimizerSettings


def build_optimizer(
    settings: OptimizerSettings, parameters: Iterable[nn.Parameter]
) -> optim.Optimizer:
    """Build an optimizer over parameters; fused kernels where torch has them for the device."""
    match settings:
        case Adam():
            return optim.Adam(
                parameters,
                lr=settings.learning_rate,
                weight_decay=settings.weight_decay,
                fused=True,
            )
        case AdamW():
            return optim.AdamW(
                parameters,
                lr=settings.learning_rate,
                weight_decay=settings.weight_decay,
                fused=True,
            )
        case SGD():
            return optim.SGD(
                parameters,
                lr=settings.learning_rate,
                momentum=settings.momentum,
                nesterov=settings.nesterov,
                weight_decay=settings.weight_decay,
                fused=True,
            )
        case _:
            assert_never(settings)
