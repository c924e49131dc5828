"""A moving average of weights beside the weights that learn."""

from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of a model that follows it, BatchNorm's averages included.

    With n updates behind it the average keeps min(decay, (1 + n) / (10 + n)) of itself, so that
    fresh weights are soon forgotten.

    Source: Kingma & Ba 2015, arXiv:1412.6980, section 7.2; the rising decay is TensorFlow's
    ExponentialMovingAverage's.
    """

    def follow(averages: PARAM_LIST, weights: PARAM_LIST, n_updates: Tensor | int) -> None:
        if averages[0].is_floating_point():
            n = int(average.n_averaged)  # lies on the CPU: a look at `n_updates` waits for a GPU
            get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averages, weights, n_updates)
            return
        for count, theirs in zip(averages, weights, strict=True):
            count.copy_(theirs)

    average = AveragedModel(model, multi_avg_fn=follow, use_buffers=True)
    return average
