"""The kinds of models, by their settings.

Adding one is a class here and a place in `ModelSettings`, a file in `pipeline_lib.models`, and
one `case` in `pipeline_lib.models.build`.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, cast

from pydantic import BeforeValidator, Field

from pipeline_lib.config.settings import Settings

DEFAULT_MODEL_KIND = "embedding_mlp"


class EmbeddingMLPSettings(Settings):
    """A network: one embedding per column, then blocks of Linear, ReLU, BatchNorm and Dropout."""

    kind: Literal["embedding_mlp"] = "embedding_mlp"
    d_hidden: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = Field(
        default=(200, 100, 50),
        min_length=1,
        max_length=16,
        description="width of each hidden layer",
    )
    d_embedding_max: int = Field(
        default=50, ge=1, le=1024, description="largest embedding dimension of a column"
    )
    dropout: float = Field(
        default=0.4, ge=0, lt=1, description="dropout probability after each block"
    )
    dropout_embedding: float = Field(
        default=0.4, ge=0, lt=1, description="dropout probability on the concatenated embeddings"
    )


class LinearSettings(Settings):
    """Logistic regression, or ridge regression: a weight per category and per scaled number.

    Fitted on all training rows to the optimum: of `training` only `loss`, `device` and
    `memory_budget_mb` have an effect.
    """

    kind: Literal["linear"] = "linear"
    l2: float = Field(
        default=1.0,
        gt=0,
        le=1e9,
        description="penalty: half of it times the sum of squared weights is added to the sum of "
        "the rows' losses, as in scikit-learn's LogisticRegression(C=1/l2) and Ridge(alpha=l2/2)",
    )
    max_passes: int = Field(
        default=1000,
        ge=1,
        le=1_000_000,
        description="passes over the training rows, at most; most fits need fewer than 100",
    )


def _with_kind(value: object) -> object:
    """Give settings without a kind the only one that there was in earlier releases."""
    if not isinstance(value, Mapping):
        return value
    return {"kind": DEFAULT_MODEL_KIND, **cast("Mapping[str, object]", value)}


ModelSettings = Annotated[
    EmbeddingMLPSettings | LinearSettings,
    Field(discriminator="kind"),
    BeforeValidator(_with_kind),
]
