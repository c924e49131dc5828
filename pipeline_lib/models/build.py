"""From settings to a kind of model."""

from typing import assert_never

from pipeline_lib.config.models import (
    BlendSettings,
    BoostingSettings,
    CatBoostSettings,
    EmbeddingMLPSettings,
    KindSettings,
    LinearSettings,
    MemberSettings,
    TabularMLPSettings,
)
from pipeline_lib.models.blend import BlendKind
from pipeline_lib.models.boosting import BoostingKind
from pipeline_lib.models.catboost_trees import CatBoostKind
from pipeline_lib.models.embedding_mlp import EmbeddingMLPKind
from pipeline_lib.models.estimator import EstimatorKind
from pipeline_lib.models.linear import LinearKind
from pipeline_lib.models.network import NetworkKind
from pipeline_lib.models.tabular_mlp import TabularMLPKind

# The ways of learning: by epochs, in one call, or by members that learn in one of these ways.
MemberKind = NetworkKind | EstimatorKind
ModelKind = MemberKind | BlendKind


def model_kind(settings: KindSettings) -> ModelKind:
    """Return the kind of model that settings are of."""
    match settings:
        case BlendSettings():
            return BlendKind(settings)
        case (
            EmbeddingMLPSettings()
            | TabularMLPSettings()
            | LinearSettings()
            | BoostingSettings()
            | CatBoostSettings()
        ):
            return member_kind(settings)
        case _:
            assert_never(settings)


def member_kind(settings: MemberSettings) -> MemberKind:
    """Return the kind of model that settings are of; a blend has members of these."""
    match settings:
        case EmbeddingMLPSettings():
            return EmbeddingMLPKind(settings)
        case TabularMLPSettings():
            return TabularMLPKind(settings)
        case LinearSettings():
            return LinearKind(settings)
        case BoostingSettings():
            return BoostingKind(settings)
        case CatBoostSettings():
            return CatBoostKind(settings)
        case _:
            assert_never(settings)
