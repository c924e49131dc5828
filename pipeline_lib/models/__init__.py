"""The networks. Each takes `x_cat` and `x_num` and gives logits."""

from pipeline_lib.models.build import build_model
from pipeline_lib.models.embedding_mlp import EmbeddingMLP, embedding_width

__all__ = ["EmbeddingMLP", "build_model", "embedding_width"]
