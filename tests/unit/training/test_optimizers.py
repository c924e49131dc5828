"""Each kind of optimizer takes the steps of torch's own."""

import copy
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import nn, optim

from pipeline_lib.config import SGD, Adam, AdamW, OptimizerSettings
from pipeline_lib.training.optimizers import build_optimizer

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
        (SGD(learning_rate=0.02), lambda p: optim.SGD(p, lr=0.02, momentum=0.9)),
        (SGD(learning_rate=0.02, momentum=0), lambda p: optim.SGD(p, lr=0.02)),
        (
            SGD(learning_rate=0.02, nesterov=True, weight_decay=0.1),
            lambda p: optim.SGD(p, lr=0.02, momentum=0.9, nesterov=True, weight_decay=0.1),
        ),
    ],
    ids=["adam", "adam-decay", "adamw", "sgd-momentum", "sgd-plain", "sgd-nesterov"],
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
