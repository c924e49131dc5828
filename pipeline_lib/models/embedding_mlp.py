"""The textbook's network: embeddings of the categories, then a multilayer perceptron."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline_lib.config.models import EmbeddingMLPSettings
from pipeline_lib.config.settings import Settings
from pipeline_lib.encoding import Encoder, Target
from pipeline_lib.models.carry_over import CarriedOver, Learned, carried_widths, carry_over
from pipeline_lib.models.dropout import Dropout
from pipeline_lib.models.estimator import BatchSource
from pipeline_lib.models.model import Dimensions
from pipeline_lib.models.network import Network, NetworkKind
from pipeline_lib.models.widths import embedding_width
from pipeline_lib.storage.json_files import Json


class EmbeddingMLP(Network):
    """Embeddings, concatenation, dropout, blocks of Linear–ReLU–BatchNorm–Dropout, linear head.

    Shape:
        x_cat: ``(n_rows, n_category_columns)`` int32 or int64 codes;
        x_num: ``(n_rows, n_numeric)`` float32;
        output: logits ``(n_rows, d_out)``.

    Args:
        cardinalities: codes per category column, reserved ones included.
        n_numeric: width of `x_num`.
        d_out: number of logits.
        d_hidden: width of each block.
        d_embedding_max: widest embedding.
        dropout: p after each block.
        dropout_embedding: p on the concatenated embeddings.
        d_embeddings: width of each embedding, where `embedding_width` does not decide.

    Source: Guo & Berkhahn 2016, arXiv:1604.06737 (entity embeddings).
    """

    def __init__(
        self,
        cardinalities: Sequence[int],
        *,
        n_numeric: int,
        d_out: int,
        d_hidden: Sequence[int] = (200, 100, 50),
        d_embedding_max: int = 50,
        dropout: float = 0.4,
        dropout_embedding: float = 0.4,
        d_embeddings: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        widths = d_embeddings or [embedding_width(n, d_embedding_max) for n in cardinalities]
        self.embeddings = nn.ModuleList(
            nn.Embedding(n, width) for n, width in zip(cardinalities, widths, strict=True)
        )
        self.dropout_embedding = Dropout(dropout_embedding, inplace=True, n_spared=n_numeric)
        d_in = sum(widths) + n_numeric
        blocks: list[nn.Module] = []
        for d_block in d_hidden:
            blocks += [
                nn.Linear(d_in, d_block),
                nn.ReLU(inplace=True),
                nn.BatchNorm1d(d_block),
                Dropout(dropout, inplace=True),
            ]
            d_in = d_block
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(d_in, d_out)

    @property
    def tables(self) -> list[nn.Embedding]:
        """The embedding of each category column."""
        return [module for module in self.embeddings if isinstance(module, nn.Embedding)]

    @property
    def d_embeddings(self) -> tuple[int, ...]:
        """The width of each embedding."""
        return tuple(table.embedding_dim for table in self.tables)

    @property
    def n_dense_weights(self) -> int:
        """All weights but those of the embeddings."""
        every = sum(weight.numel() for weight in self.parameters())
        return every - sum(weight.numel() for weight in self.embeddings.parameters())

    def layout(self) -> Mapping[str, Json]:
        """Return the widths: a column keeps the one that it had when it was new."""
        return {"d_embeddings": list(self.d_embeddings)}

    def forward(self, x_cat: Tensor, x_num: Tensor) -> Tensor:
        """Return logits."""
        codes = x_cat.t().contiguous()  # once, or each lookup copies its column
        parts = [embed(codes[position]) for position, embed in enumerate(self.embeddings)]
        x = x_num
        if parts:  # one concatenation: numbers pass through the dropout unchanged
            x = self.dropout_embedding(torch.cat([*parts, x_num], dim=1))
        return self.head(self.blocks(x))

    @torch.no_grad()
    def fill_untrained(self, counts: Sequence[Tensor]) -> None:
        """Give every code that no training row holds the mean vector of those rows.

        An embedding that no gradient reached is noise; the mean makes an unseen or missing
        category count as an average one.

        Args:
            counts: training rows per code, for each column of `x_cat`; shape ``(cardinality,)``.
        """
        for table, held in zip(self.tables, counts, strict=True):
            weight = table.weight
            n_rows = held.to(weight)
            weight[n_rows == 0] = (n_rows @ weight) / n_rows.sum()


@dataclass(frozen=True)
class EmbeddingMLPKind(NetworkKind):
    """`embedding_mlp`: starts from the champion where the blocks are as wide."""

    settings: EmbeddingMLPSettings

    @property
    def name(self) -> str:
        """See `Kind.name`."""
        return self.settings.kind

    def build(self, dimensions: Dimensions, train: BatchSource) -> EmbeddingMLP:
        """See `NetworkKind.build`."""
        del train
        return self._built(dimensions, None)

    def rebuild(self, dimensions: Dimensions, layout: Mapping[str, Any]) -> EmbeddingMLP:
        """See `NetworkKind.rebuild`; version 1 of model.json had no widths."""
        return self._built(dimensions, layout.get("d_embeddings"))

    def obstacle(self, champion: Settings) -> str:
        """See `Kind.obstacle`."""
        ours = self.settings
        if not isinstance(champion, EmbeddingMLPSettings):
            return f"it is of another kind than {ours.kind}"
        for name, before, now in (
            ("d_hidden", list(champion.d_hidden), list(ours.d_hidden)),
            ("d_embedding_max", champion.d_embedding_max, ours.d_embedding_max),
        ):
            if before != now:
                return f"its network has {name} {before}, the config {now}"
        return ""

    def build_from(
        self, source: Learned[Network], encoder: Encoder, target: Target, *, share: float
    ) -> tuple[Network, CarriedOver]:
        """See `NetworkKind.build_from`."""
        assert isinstance(source.network, EmbeddingMLP), "`obstacle` was not asked"
        learned = Learned(source.network, source.encoder, source.target)
        widths = carried_widths(learned, encoder, self.settings.d_embedding_max)
        network = self._built(Dimensions.of(encoder, target), widths)
        return network, carry_over(learned, network, encoder, target, share=share)

    def _built(self, dimensions: Dimensions, widths: Sequence[int] | None) -> EmbeddingMLP:
        settings = self.settings
        network = EmbeddingMLP(
            dimensions.cardinalities,
            n_numeric=dimensions.n_numeric,
            d_out=dimensions.d_out,
            d_hidden=settings.d_hidden,
            d_embedding_max=settings.d_embedding_max,
            dropout=settings.dropout,
            dropout_embedding=settings.dropout_embedding,
            d_embeddings=widths,
        )
        if settings.embedding_deviation != 1:
            with torch.no_grad():
                for table in network.tables:
                    table.weight.mul_(settings.embedding_deviation)
        return network
