"""A network for tables: piecewise-linear numbers, category dropout, members that share weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline_lib.config.models import TabularMLPSettings
from pipeline_lib.models.dropout import Dropout
from pipeline_lib.models.estimator import BatchSource
from pipeline_lib.models.model import Dimensions
from pipeline_lib.models.network import Network, NetworkKind
from pipeline_lib.models.number_bins import PiecewiseLinear, borders_of, sampled_numbers
from pipeline_lib.models.shared_weights import MemberHeads, SharedLinear
from pipeline_lib.storage.json_files import Json

# Standard deviation of fresh embeddings: at 1, torch's own, they outweigh scaled numbers.
_EMBEDDING_DEVIATION = 0.1
# Scaled numbers are bent smoothly so that none is beyond this.
_LARGEST = 3.0
_BATCH_ROWS = 65_536
# No bound; checkpoints hold finite numbers alone.
_MOST = torch.finfo(torch.float32).max


class TabularMLP(Network):
    """One-hot or embedded categories, numbers and their bins, then an MLP of several members.

    In training each embedded code is replaced by the unseen one with a probability: so the unseen
    code learns what an average category is like, and no category is relied on alone. Each member
    has a loss of its own; probabilities of members are averaged.

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
        cardinalities, n_members = dimensions.cardinalities, settings.n_shared
        largest = settings.one_hot_max + 2
        self._is_number = dimensions.n_classes == 0
        self._one_hot = [i for i, n in enumerate(cardinalities) if n <= largest]
        self._embedded = [i for i, n in enumerate(cardinalities) if n > largest]
        self._cardinalities, self._p_unseen = cardinalities, settings.dropout_category
        self.embeddings = nn.ModuleList(
            nn.Embedding(cardinalities[i], settings.d_embedding) for i in self._embedded
        )
        for table in self.tables:
            nn.init.normal_(table.weight, std=_EMBEDDING_DEVIATION)
        self.center: Tensor
        self.spread: Tensor
        self.bounds: Tensor
        self.register_buffer("center", torch.zeros(dimensions.n_numeric))
        self.register_buffer("spread", torch.ones(dimensions.n_numeric))
        self.register_buffer("bounds", torch.tensor([-_MOST, _MOST]))
        self.bins = PiecewiseLinear(n_borders)
        # Code 0, unseen, has no column of its own: it is all zeros.
        d_one_hot = sum(cardinalities[i] - 1 for i in self._one_hot)
        d_in = d_one_hot + settings.d_embedding * len(self._embedded)
        d_in += dimensions.n_numeric + self.bins.width
        self.layers = nn.ModuleList()
        for d_hidden in settings.d_hidden:
            self.layers.append(SharedLinear(n_members, d_in, d_hidden))
            d_in = d_hidden
        self.dropout = Dropout(settings.dropout)
        self.heads = MemberHeads(n_members, d_in, dimensions.d_out)

    @property
    def tables(self) -> list[nn.Embedding]:
        """The embeddings of the columns that have one."""
        return [module for module in self.embeddings if isinstance(module, nn.Embedding)]

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
        return {"n_borders": list(self.bins.n_borders)}

    @torch.no_grad()
    def begin(self, rows: BatchSource, n_bins: int) -> None:
        """Take from training rows what steps do not learn; let members differ.

        That is centers, spreads and borders of numbers, and the range of a number to predict.
        """
        self._layers[0].draw_signs()
        for table in self.tables:
            table.weight[0] = 0
        numbers = sampled_numbers(rows)
        if numbers.shape[1]:
            lower, center, upper = np.quantile(
                numbers.astype(np.float64), (0.25, 0.5, 0.75), axis=0
            )
            spread = np.where(upper > lower, upper - lower, numbers.std(axis=0))
            self.center.copy_(torch.from_numpy(center))
            self.spread.copy_(torch.from_numpy(np.where(spread > 0, spread, 1.0)))
            self.bins.set_borders([borders_of(column, n_bins) for column in numbers.T])
        if self._is_number:
            every = [batch.y for batch in rows.in_order(_BATCH_ROWS)]
            self.bounds[0] = torch.stack([y.min() for y in every]).min()
            self.bounds[1] = torch.stack([y.max() for y in every]).max()

    def forward(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        """Return logits."""
        x = self._inputs(x_cat, x_num).unsqueeze(1)
        for layer in self._layers:
            x = self.dropout(functional.relu(layer(x)))
        logits = self.heads(x)
        return logits.flatten(0, 1) if self.training else self._mixed(logits)

    def _inputs(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        """Return what the first layer sees, shape ``(n_rows, d_in)``."""
        codes = x_cat.t().contiguous()
        parts: list[Tensor] = []
        for column in self._one_hot:
            kinds = torch.arange(1, self._cardinalities[column], device=x_cat.device)
            parts.append((codes[column].unsqueeze(1) == kinds).to(x_num.dtype))
        if self._embedded:
            embedded = codes[self._embedded]
            if self.training and self._p_unseen:
                shape = embedded.shape
                embedded = embedded * (torch.rand(shape, device=x_cat.device) >= self._p_unseen)
            parts += [table(embedded[row]) for row, table in enumerate(self.tables)]
        scaled = (x_num - self.center) / self.spread
        parts += [scaled / torch.sqrt(1 + (scaled / _LARGEST) ** 2), self.bins(x_num)]
        return torch.cat(parts, dim=1)

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
        """Give every code that no training row holds the vector of the unseen code.

        Args:
            counts: training rows per code, for each column of `x_cat`; shape ``(cardinality,)``.
        """
        for column, table in zip(self._embedded, self.tables, strict=True):
            table.weight[counts[column] == 0] = table.weight[0].clone()


@dataclass(frozen=True)
class TabularMLPKind(NetworkKind):
    """`tabular_mlp`: always starts from fresh weights."""

    settings: TabularMLPSettings

    @property
    def name(self) -> str:
        """See `Kind.name`."""
        return self.settings.kind

    def build(self, dimensions: Dimensions, train: BatchSource) -> TabularMLP:
        """See `NetworkKind.build`."""
        numbers, n_bins = sampled_numbers(train), self.settings.n_bins
        n_borders = [len(borders_of(column, n_bins)) for column in numbers.T]
        network = TabularMLP(dimensions, self.settings, n_borders)
        network.begin(train, n_bins)
        return network

    def rebuild(self, dimensions: Dimensions, layout: Mapping[str, Any]) -> TabularMLP:
        """See `NetworkKind.rebuild`."""
        n_borders = [int(n) for n in layout["n_borders"]]
        most = self.settings.n_bins + 2
        if len(n_borders) != dimensions.n_numeric or not all(0 <= n <= most for n in n_borders):
            raise ValueError("the borders of bins are not of the encoder's numbers")
        return TabularMLP(dimensions, self.settings, n_borders)
