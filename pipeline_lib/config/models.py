"""The kinds of models, by their settings.

Adding one is a class here and a place in `AnyKind`, a file in `pipeline_lib.models`, and one `case`
in `pipeline_lib.models.build`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, cast

from pydantic import BeforeValidator, Field, SerializerFunctionWrapHandler, model_serializer

from pipeline_lib.config.settings import Settings, without_defaults

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
    embedding_deviation: float = Field(
        default=1.0,
        gt=0,
        le=10,
        description="standard deviation of the first embeddings; 1 is torch's own, with which "
        "embeddings outweigh scaled numbers: 0.1 is better on most tables that have both",
    )

    @model_serializer(mode="wrap")
    def _without_what_is_not_said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A config keeps the digest that it had before first embeddings could be set.
        return without_defaults(self, handler(self), "embedding_deviation")


class TabularMLPSettings(Settings):
    """A network for tables: piecewise-linear numbers, category dropout, members sharing weights."""

    kind: Literal["tabular_mlp"] = "tabular_mlp"
    d_hidden: tuple[Annotated[int, Field(ge=1, le=8192)], ...] = Field(
        default=(192, 192), min_length=1, max_length=16, description="width of each hidden layer"
    )
    n_shared: int = Field(
        default=4,
        ge=1,
        le=64,
        description="members that share most of their weights (TabM); predictions are averaged",
    )
    d_embedding: int = Field(
        default=8, ge=1, le=1024, description="width of an embedding of a category column"
    )
    one_hot_max: int = Field(
        default=9,
        ge=0,
        le=1000,
        description="categories up to which a column is one-hot encoded instead of embedded",
    )
    n_bins: int = Field(
        default=16,
        ge=0,
        le=1024,
        description="bins of the piecewise-linear encoding of each number, at quantiles of the "
        "training rows; below 2: none",
    )
    n_frequencies: int = Field(
        default=0,
        ge=0,
        le=256,
        description="periodic functions of each number, with learned frequencies, beside the "
        "bins; 0: none",
    )
    frequency_deviation: float = Field(
        default=0.1,
        gt=0,
        le=100,
        description="standard deviation of their first frequencies, in periods per interquartile "
        "range",
    )
    dropout: float = Field(
        default=0.2, ge=0, lt=1, description="dropout probability after each hidden layer"
    )
    dropout_category: float = Field(
        default=0.1,
        ge=0,
        lt=1,
        description="probability in training that an embedded category counts as unseen",
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


class BoostingSettings(Settings):
    """Gradient-boosted trees (LightGBM), on codes as categories and on scaled numbers.

    Settings have LightGBM's names; its defaults are for larger tables. The validation loss decides
    how many rounds there are. Of `training` only `loss` (without label smoothing), `refit`, `seed`
    and `memory_budget_mb` have an effect.
    """

    kind: Literal["boosting"] = "boosting"
    target_statistics: bool = Field(
        default=False,
        description="whether trees also see the mean of the target for each category, from other "
        "rows than the one they learn from (five folds)",
    )
    learning_rate: float = Field(default=0.03, gt=0, le=1, description="shrinkage of each round")
    max_rounds: int = Field(default=2000, ge=1, le=100_000, description="boosting rounds, at most")
    patience: int = Field(
        default=100,
        ge=1,
        description="rounds without a better validation loss before the stop",
    )
    num_leaves: int = Field(default=15, ge=2, le=4096, description="leaves of a tree, at most")
    min_child_samples: int = Field(default=10, ge=1, description="fewest training rows of a leaf")
    feature_fraction: float = Field(
        default=0.7, gt=0, le=1, description="share of the columns that a tree may use"
    )
    bagging_fraction: float = Field(
        default=0.8, gt=0, le=1, description="share of the rows that a round learns from"
    )
    cat_smooth: float = Field(
        default=5.0, ge=0, description="smoothing of the statistics of rare categories"
    )
    cat_l2: float = Field(
        default=5.0, ge=0, description="L2 regularization of splits by categories"
    )
    min_data_per_group: int = Field(
        default=10, ge=1, description="fewest rows of a group of categories"
    )
    max_cat_to_onehot: int = Field(
        default=4, ge=1, description="categories up to which one is split from all others"
    )
    lambda_l2: float = Field(default=0.0, ge=0, description="L2 regularization of leaves")


class CatBoostSettings(Settings):
    """Gradient-boosted trees (CatBoost), with ordered target statistics of categories; an extra.

    `pip install 'evergreen-tables[catboost]'` brings the library, which is large. Settings have
    CatBoost's names; the validation loss decides how many rounds there are. All rows are in memory.
    Of `training` only `loss` (without label smoothing), `refit` and `seed` have an effect.
    """

    kind: Literal["catboost"] = "catboost"
    learning_rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="shrinkage of each round; null: CatBoost chooses it by rows and rounds",
    )
    max_rounds: int = Field(default=1000, ge=1, le=100_000, description="boosting rounds, at most")
    patience: int = Field(
        default=100,
        ge=1,
        description="rounds without a better validation loss before the stop",
    )
    depth: int = Field(default=6, ge=1, le=12, description="depth of a tree")
    l2_leaf_reg: float | None = Field(
        default=None,
        ge=0,
        description="L2 regularization of leaves; null: CatBoost's own, 3. With another value the "
        "`learning_rate` that is null is 0.03",
    )


MemberSettings = Annotated[
    EmbeddingMLPSettings
    | TabularMLPSettings
    | LinearSettings
    | BoostingSettings
    | CatBoostSettings,
    Field(discriminator="kind"),
]


class BlendSettings(Settings):
    """A weighted mean of models, whose weights are chosen by the validation rows; 0 is one.

    Members learn one after the other; networks as `training` says.
    """

    kind: Literal["blend"] = "blend"
    members: tuple[MemberSettings, ...] = Field(
        default=(
            BoostingSettings(),
            BoostingSettings(target_statistics=True),
            TabularMLPSettings(),
            LinearSettings(),
        ),
        min_length=1,
        max_length=16,
        description="the models, of other kinds than blend",
    )
    calibration: Literal["temperature", "none"] = Field(
        default="temperature",
        description="whether probabilities are calibrated by one temperature, chosen by the "
        "validation rows (from 300 rows on)",
    )


def _with_kind(value: object) -> object:
    """Give settings without a kind the only one that there was in earlier releases."""
    if not isinstance(value, Mapping):
        return value
    return {"kind": DEFAULT_MODEL_KIND, **cast("Mapping[str, object]", value)}


AnyKind = (
    EmbeddingMLPSettings
    | TabularMLPSettings
    | LinearSettings
    | BoostingSettings
    | CatBoostSettings
    | BlendSettings
)
# The settings of a kind of model: what is trained, and what a saved model holds.
KindSettings = Annotated[AnyKind, Field(discriminator="kind"), BeforeValidator(_with_kind)]


class AutoSettings(Settings):
    """A blend chosen by the table: rows, columns and categories decide its members and training.

    `evergreen check` shows the choice and its reasons. What `training` sets is kept; the rest of
    it is chosen as well.
    """

    kind: Literal["auto"] = "auto"
    effort: Literal["quick", "standard"] = Field(
        default="standard",
        description="`standard`: trees, a network and a linear model; `quick`: no network, a third "
        "of the time or less",
    )


# What a config may name.
ModelSettings = Annotated[
    AutoSettings | AnyKind, Field(discriminator="kind"), BeforeValidator(_with_kind)
]
