"""Models that learn by epochs: torch modules, trained by `pipeline_lib.training`.

Such a kind says how its network is built and, where that makes sense, what it takes over from the
champion's. Members, resuming, averages, precision, saving and prediction are the same for all.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pipeline_lib.encoding import Encoder, Target
from pipeline_lib.models.carry_over import CarriedOver, Learned
from pipeline_lib.models.estimator import BatchSource
from pipeline_lib.models.model import WEIGHTS_FILE, Dimensions, Kind
from pipeline_lib.storage.json_files import Json


class Network(nn.Module, ABC):
    """One network: from `x_cat` and `x_num` to logits.

    Weights of `nn.Linear` and `nn.Embedding` decay as the optimizer's settings say, others never.
    """

    @abstractmethod
    def forward(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        """Return logits ``(n_rows, d_out)``; shapes of the inputs as in `Model.scores`.

        In training there may be several for each row, one after the other: the loss is their mean.
        """

    @property
    @abstractmethod
    def n_dense_weights(self) -> int:
        """Weights that each row is multiplied with; decides how many threads a step is worth."""

    @abstractmethod
    def layout(self) -> Mapping[str, Json]:
        """Return what `NetworkKind.rebuild` needs beside settings and dimensions."""

    @abstractmethod
    def fill_untrained(self, counts: Sequence[Tensor]) -> None:
        """Give a meaning to codes that no training row holds, after the last epoch.

        Args:
            counts: training rows per code, for each column of `x_cat`; shape ``(cardinality,)``.
        """


@dataclass(frozen=True)
class NetworkKind(Kind):
    """A kind of network."""

    @abstractmethod
    def build(self, dimensions: Dimensions, train: BatchSource) -> Network:
        """Return a network with fresh weights from torch's global generator.

        Args:
            dimensions: of encoder and target.
            train: the training rows, for what is not learned by steps, such as quantiles.
        """

    @abstractmethod
    def rebuild(self, dimensions: Dimensions, layout: Mapping[str, Any]) -> Network:
        """Return a network as it was saved, whose weights are loaded next.

        Args:
            dimensions: of encoder and target.
            layout: model.json, with what `Network.layout` gave; what an earlier release did not
                write has a default.
        """

    def build_from(
        self, source: "Learned[Network]", encoder: Encoder, target: Target, *, share: float
    ) -> tuple[Network, CarriedOver]:
        """Return a network that starts from a trained one, where `obstacle` is empty.

        A kind whose `obstacle` never is has none.

        Args:
            source: the trained network, its encoder and target.
            encoder: of the new one.
            target: of the new one.
            share: of the trained weights in the first ones, above 0, at most 1.
        """
        raise AssertionError(
            f"{self.name} always has an obstacle: {source} {encoder} {target} {share}"
        )

    def load(self, folder: Path, spec: Mapping[str, Any], dimensions: Dimensions) -> "Networks":
        """See `Kind.load`."""
        from safetensors.torch import load_file

        # Copies: what is read from a mapped file could still change after it was verified.
        weights = {name: w.clone() for name, w in load_file(folder / WEIGHTS_FILE).items()}
        if spec["version"] == 1:  # of one network, whose names had no number before them
            weights = {f"0.{name}": weight for name, weight in weights.items()}
        n_members = int(spec.get("n_members", 1))
        if not 1 <= n_members <= len(weights):
            raise ValueError(f"{len(weights)} tensors are not those of {n_members} networks")
        with torch.device("meta"), _Uninitialized():  # no memory, whatever sizes the files claim
            networks = [self.rebuild(dimensions, spec) for _ in range(n_members)]
        nn.ModuleList(networks).load_state_dict(weights, assign=True)
        return Networks(tuple(network.eval() for network in networks), dimensions.n_classes)


@dataclass(frozen=True)
class Networks:
    """Trained networks of one kind; several answer with the mean of their scores.

    `n_classes` is 0 for a regression.
    """

    members: tuple[Network, ...]
    n_classes: int

    @torch.no_grad()
    def scores(
        self, x_cat: npt.NDArray[np.int32], x_num: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float64]:
        """See `Model.scores`."""
        device = next(self.members[0].parameters()).device
        codes, numbers = (torch.from_numpy(array).to(device) for array in (x_cat, x_num))
        outputs = [self._outputs(network.eval()(codes, numbers)) for network in self.members]
        mean = outputs[0] if len(outputs) == 1 else torch.stack(outputs).mean(dim=0)
        return mean.cpu().numpy().astype(np.float64)

    def save(self, folder: Path) -> Mapping[str, Json]:
        """See `Model.save`."""
        from safetensors.torch import save_file

        weights = nn.ModuleList(self.members).state_dict()
        plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
        save_file(plain, folder / WEIGHTS_FILE)
        return {**self.members[0].layout(), "n_members": len(self.members)}

    @property
    def size(self) -> str:
        """See `Model.size`."""
        n_weights = sum(weight.numel() for weight in self.members[0].parameters())
        n = len(self.members)
        return f"{n_weights:,} weights" + (f" each of {n} members" if n > 1 else "")

    def _outputs(self, logits: Tensor) -> Tensor:
        return probabilities(logits.cpu().double()) if self.n_classes else logits


class _Uninitialized(TorchFunctionMode):
    """Lets a network be built without first weights.

    For random ones on the meta device torch (2.13) would import its compiler, a second of CPU.
    """

    _RANDOM = frozenset(
        {"normal_", "uniform_", "random_", "bernoulli_", "trunc_normal_", "orthogonal_"}
        | {f"{rule}_{kind}_" for rule in ("kaiming", "xavier") for kind in ("normal", "uniform")}
    )

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call `func`, or return the tensor that it would fill with random numbers."""
        if func.__name__ in self._RANDOM:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def probabilities(logits: Tensor) -> Tensor:
    """Return class probabilities, shape ``(n_rows, n_classes)``; one logit means two classes."""
    if logits.shape[1] == 1:
        positive = torch.sigmoid(logits)
        return torch.cat([1 - positive, positive], dim=1)
    return torch.softmax(logits, dim=1)
