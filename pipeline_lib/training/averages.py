"""A moving average of weights beside the weights that learn."""

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a model that follows it when told; BatchNorm's averages follow too.

    With n updates behind it the average keeps min(decay, (1 + n) / (10 + n)) of itself, so that
    fresh weights are soon forgotten.

    Source: Kingma & Ba 2015, arXiv:1412.6980, section 7.2; the rising decay is TensorFlow's
    ExponentialMovingAverage's.
    """

    def follow(average: Tensor, weight: Tensor, n_updates: Tensor | int) -> Tensor:
        n = torch.as_tensor(n_updates, dtype=torch.float32, device=average.device)
        kept = torch.clamp((1 + n) / (10 + n), max=decay)
        if not average.is_floating_point():
            return weight
        return torch.lerp(weight, average, kept)

    return AveragedModel(model, avg_fn=follow, use_buffers=True)
