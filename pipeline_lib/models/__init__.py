"""The kinds of models. Each gives scores of `x_cat` and `x_num`; see `models.model`."""

from pipeline_lib.models.blend import BlendKind, BlendModel
from pipeline_lib.models.build import MemberKind, ModelKind, member_kind, model_kind
from pipeline_lib.models.embedding_mlp import EmbeddingMLP
from pipeline_lib.models.estimator import EstimatorKind, FitInput
from pipeline_lib.models.linear import LinearModel
from pipeline_lib.models.model import Dimensions, Kind, Model
from pipeline_lib.models.network import Network, NetworkKind, Networks, probabilities
from pipeline_lib.models.widths import embedding_width

__all__ = [
    "BlendKind",
    "BlendModel",
    "Dimensions",
    "EmbeddingMLP",
    "EstimatorKind",
    "FitInput",
    "Kind",
    "LinearModel",
    "MemberKind",
    "Model",
    "ModelKind",
    "Network",
    "NetworkKind",
    "Networks",
    "embedding_width",
    "member_kind",
    "model_kind",
    "probabilities",
]
