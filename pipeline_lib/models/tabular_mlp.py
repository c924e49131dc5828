"""A network for tables: piecewise-linear numbers, category dropout, members that share weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline_lib.config.models import TabularMLPSettings
from pipeline_lib.config.settings import Settings
from pipeline_lib.models.category_inputs import CategoryInputs
from pipeline_lib.models.dropout import Dropout
from pipeline_lib.models.estimator import BatchSource
from pipeline_lib.models.model import Dimensions
from pipeline_lib.models.network import Network, NetworkKind
from pipeline_lib.models.number_inputs import NumberInputs, TrainingNumbers
from pipeline_lib.models.shared_weights import MemberHeads, SharedLinear
from pipeline_lib.storage.json_files import Json

# No bound; checkpoints hold finite numbers alone.
_MOST = torch.finfo(torch.float32).max


class TabularMLP(Network):
    """One-hot or embedded categories, numbers and their bins, then an MLP of several members.

    Each member has a loss of its own; probabilities of members are averaged.

    Shape:
        x_cat: ``(n_rows, n_category_columns)`` int32 or int64 codes;
        x_num: ``(n_rows, n_numeric)`` float32;
        output: logits ``(n_rows, d_out)``; in training ``(n_rows * n_members, d_out)``, the
        members of a row one after the other.

    Args:
        dimensions: widths of inputs and outputs.
        settings: of the kind.
        n_borders: borders of the bins of each column of `x_num`.
    """

    def __init__(
        self, dimensions: Dimensions, settings: TabularMLPSettings, n_borders: Sequence[int]
    ) -> None:
        super().__init__()
        self._is_number = dimensions.n_classes == 0
        self.categories = CategoryInputs(
            dimensions.cardinalities,
            one_hot_max=settings.one_hot_max,
            d_embedding=settings.d_embedding,
            p_unseen=settings.dropout_category,
        )
        self.numbers = NumberInputs(n_borders, settings.n_frequencies, settings.frequency_deviation)
        self.bounds: Tensor
        self.register_buffer("bounds", torch.tensor([-_MOST, _MOST]))
        d_in = self.categories.width + self.numbers.width
        self.layers = nn.ModuleList()
        for d_hidden in settings.d_hidden:
            self.layers.append(SharedLinear(settings.n_shared, d_in, d_hidden))
            d_in = d_hidden
        self.dropout = Dropout(settings.dropout)
        self.heads = MemberHeads(settings.n_shared, d_in, dimensions.d_out)

    @property
    def n_dense_weights(self) -> int:
        """All weights but those of the embeddings, once for each member."""
        shared = [layer.linear.weight.numel() for layer in self._layers]
        return len(self.heads.bias) * sum(shared) + self.heads.weight.numel()

    @property
    def _layers(self) -> list[SharedLinear]:
        return [layer for layer in self.layers if isinstance(layer, SharedLinear)]

    def layout(self) -> Mapping[str, Json]:
        """Return the number of borders of each numeric column."""
        return {"n_borders": list(self.numbers.bins.n_borders)}

    @torch.no_grad()
    def begin(self, numbers: TrainingNumbers, n_bins: int) -> None:
        """Take from training rows what steps do not learn; let members differ.

        That is centers, ranges and borders of numbers, and the range of a number to predict.
        """
        self._layers[0].draw_signs()
        self.categories.begin()
        self.numbers.begin(numbers, n_bins)
        if self._is_number:
            self.bounds.copy_(torch.tensor([numbers.lowest, numbers.highest]))

    def forward(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        """Return logits."""
        parts = [*self.categories(x_cat, x_num.dtype), *self.numbers(x_num)]
        x = torch.cat(parts, dim=1).unsqueeze(1)
        for layer in self._layers:
            x = self.dropout(functional.relu(layer(x)))
        logits = self.heads(x)
        return logits.flatten(0, 1) if self.training else self._mixed(logits)

    def _mixed(self, logits: Tensor) -> Tensor:
        """Return the logits of the mean of the members' probabilities; of numbers the mean."""
        if self._is_number:
            return logits.mean(dim=1).clamp(self.bounds[0], self.bounds[1])
        if logits.shape[2] == 1:
            positive = torch.logsumexp(functional.logsigmoid(logits), dim=1)
            return positive - torch.logsumexp(functional.logsigmoid(-logits), dim=1)
        return torch.logsumexp(functional.log_softmax(logits, dim=2), dim=1)

    @torch.no_grad()
    def fill_untrained(self, counts: Sequence[Tensor]) -> None:
        """Let each code that no training row holds count as the unseen one.

        Args:
            counts: training rows per code, for each column of `x_cat`; shape ``(cardinality,)``.
        """
        self.categories.fill_untrained(counts)
        weight = self._layers[0].linear.weight
        untrained = self.categories.untrained(counts).to(weight.device)
        weight[:, : len(untrained)] *= ~untrained


@dataclass(frozen=True)
class TabularMLPKind(NetworkKind):
    """`tabular_mlp`: always starts from fresh weights."""

    settings: TabularMLPSettings

    @property
    def name(self) -> str:
        """See `Kind.name`."""
        return self.settings.kind

    def obstacle(self, champion: Settings) -> str:
        """See `Kind.obstacle`."""
        del champion
        return f"a {self.name} has bins of its own training rows, it starts from fresh weights"

    def build(self, dimensions: Dimensions, train: BatchSource) -> TabularMLP:
        """See `NetworkKind.build`."""
        numbers, n_bins = TrainingNumbers.of(train, dimensions.n_numeric), self.settings.n_bins
        n_borders = [len(borders) for borders in numbers.borders(n_bins)]
        network = TabularMLP(dimensions, self.settings, n_borders)
        network.begin(numbers, n_bins)
        return network

    def rebuild(self, dimensions: Dimensions, layout: Mapping[str, Any]) -> TabularMLP:
        """See `NetworkKind.rebuild`."""
        n_borders = [int(n) for n in layout["n_borders"]]
        most = self.settings.n_bins + 1
        if len(n_borders) != dimensions.n_numeric or not all(0 <= n <= most for n in n_borders):
            raise ValueError("the borders of bins are not of the encoder's numbers")
        return TabularMLP(dimensions, self.settings, n_borders)
