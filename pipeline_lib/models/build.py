"""From settings to a network: one match."""

from collections.abc import Sequence
from typing import assert_never

from pipeline_lib.config import EmbeddingMLPSettings, ModelSettings
from pipeline_lib.models.embedding_mlp import EmbeddingMLP


def build_model(
    settings: ModelSettings,
    *,
    cardinalities: Sequence[int],
    n_numeric: int,
    d_out: int,
    d_embeddings: Sequence[int] | None = None,
) -> EmbeddingMLP:
    """Build a network with fresh weights from torch's global generator.

    Args:
        settings: which network, by kind.
        cardinalities: codes per category column, reserved ones included.
        n_numeric: width of `x_num`.
        d_out: number of logits.
        d_embeddings: width of each embedding, where the settings do not decide.
    """
    match settings:
        case EmbeddingMLPSettings():
            return EmbeddingMLP(
                cardinalities,
                n_numeric=n_numeric,
                d_out=d_out,
                d_hidden=settings.d_hidden,
                d_embedding_max=settings.d_embedding_max,
                dropout=settings.dropout,
                dropout_embedding=settings.dropout_embedding,
                d_embeddings=d_embeddings,
            )
        case _:  # pyright: ignore[reportUnnecessaryComparison]
            assert_never(settings)
