"""What `model: {kind: auto}` stands for: a blend and its training, by rules from a table's shape.

The rules are smooth: a table that grows by a row is trained alike. They are from public tables,
see `docs/decisions/0033-what-auto-chooses.md`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from pipeline_lib.config.models import (
    AutoSettings,
    BlendSettings,
    BoostingSettings,
    LinearSettings,
    MemberSettings,
    TabularMLPSettings,
)
from pipeline_lib.config.recipes import CHOSEN, tabular_mlp_recipe
from pipeline_lib.config.training import TrainingSettings
from pipeline_lib.errors import TrainingError
from pipeline_lib.wording import rows_that

# Between these rows, settings of trees move from those for small tables to LightGBM's own: on a
# million rows the loss of the small ones was 0.547, that of the large ones 0.536 (2026-12).
_SMALL_ROWS, _LARGE_ROWS = 10_000, 1_000_000
_COUNTS = ("num_leaves", "min_child_samples", "min_data_per_group", "patience")
_OF_LARGE = {
    "learning_rate": 0.1,
    "num_leaves": 31,
    "min_child_samples": 20,
    "min_data_per_group": 100,
    "patience": 50,
    "cat_smooth": 10.0,
    "cat_l2": 10.0,
}
# Rows from which networks are wider: on small tables 128 are as good as 192, and cheaper.
_NETWORK_ROWS, _WIDTH, _MOST_WIDTH = 4_000, 128, 512
# Inputs of a network that bins of numbers may become.
_MAX_BINNED = 2_048


@dataclass(frozen=True)
class TableShape:
    """What the rules look at.

    Attributes:
        n_train: training rows.
        n_classes: classes of the target; 0 of a regression.
        n_categories: categories of each category column, those of training rows.
        n_numbers: number inputs; a column of times gives several.
    """

    n_train: int
    n_classes: int
    n_categories: tuple[int, ...]
    n_numbers: int


@dataclass(frozen=True)
class Reason:
    """A part of what was chosen, and why."""

    part: str
    why: str

    def __str__(self) -> str:
        """Return both as one line."""
        return f"{self.part}: {self.why}"


@dataclass(frozen=True)
class Choice:
    """What is trained: the model, and the whole of `training`."""

    model: BlendSettings
    training: TrainingSettings
    reasons: tuple[Reason, ...]


def choose(auto: AutoSettings, training: TrainingSettings, shape: TableShape) -> Choice:
    """Choose the members of a blend, their settings and those of `training` that are not set.

    Args:
        auto: what the config says of the model.
        training: what it sets is kept.
        shape: of the table.

    Raises:
        TrainingError: what the config sets does not go with what is chosen for the rest.
    """
    members, reasons = list[MemberSettings](), list[Reason]()
    for settings, reason in _members(auto, shape):
        members.append(settings)
        reasons.append(reason)
    recipe = tabular_mlp_recipe(max(2, shape.n_train), seed=training.seed)
    left = {name for name in CHOSEN if name not in training.model_fields_set}
    values = {name: getattr(training, name) for name in training.model_fields_set}
    values |= {name: getattr(recipe, name) for name in left}
    try:
        whole = TrainingSettings.model_validate(values)
    except ValidationError as error:
        raise TrainingError(
            f"`training` does not go with what `model: {{kind: auto}}` chooses for "
            f"{rows_that(shape.n_train)}: {_first(error)}. Set {', '.join(sorted(left))} too"
        ) from None
    if any(isinstance(member, TabularMLPSettings) for member in members):
        reasons.append(Reason("training", _why_training(whole, shape, left)))
    return Choice(BlendSettings(members=tuple(members)), whole, tuple(reasons))


def boosting_settings(shape: TableShape) -> BoostingSettings:
    """Return settings of trees for a table.

    Up to 10,000 rows they are those for small tables, from a million on LightGBM's own, and between
    them each moves by the same share for a tenfold of rows. With many classes, each of which has a
    tree of its own in a round, the learning rate is higher.

    >>> small = boosting_settings(TableShape(4_000, 2, (), 9))
    >>> small.learning_rate, small.num_leaves, small.min_data_per_group
    (0.03, 15, 10)
    >>> large = boosting_settings(TableShape(100_000, 2, (), 9))
    >>> large.learning_rate, large.num_leaves, large.min_data_per_group
    (0.055, 22, 32)
    """
    small = BoostingSettings()
    way = math.log10(max(1.0, shape.n_train / _SMALL_ROWS)) / math.log10(_LARGE_ROWS / _SMALL_ROWS)

    def between(name: str) -> float:
        first, last = getattr(small, name), _OF_LARGE[name]
        return first * (last / first) ** min(1.0, way)

    classes = math.sqrt(max(1.0, shape.n_classes / 10))
    return small.model_copy(
        update={
            "learning_rate": round(min(0.1, between("learning_rate") * classes), 3),
            **{name: round(between(name)) for name in _COUNTS},
            **{name: round(between(name), 2) for name in ("cat_smooth", "cat_l2")},
        }
    )


def _settings_of_large(trees: BoostingSettings) -> BoostingSettings:
    """Return LightGBM's own settings; those of categories are of the same order."""
    whole = {"feature_fraction": 1.0, "bagging_fraction": 1.0}
    return trees.model_copy(update={**_OF_LARGE, **whole})


def network_settings(shape: TableShape) -> TabularMLPSettings:
    """Return settings of a network: wider for more rows, fewer bins a number for many numbers.

    >>> network_settings(TableShape(4_000, 2, (), 20)).d_hidden
    (128, 128)
    >>> network_settings(TableShape(40_000, 2, (), 1_000))
    ... # doctest: +ELLIPSIS
    TabularMLPSettings(kind='tabular_mlp', d_hidden=(224, 224), ... n_bins=2, ...)
    """
    growth = max(1.0, shape.n_train / _NETWORK_ROWS) ** 0.25
    width = min(_MOST_WIDTH, 16 * round(_WIDTH * growth / 16))
    bins = _MAX_BINNED // max(1, shape.n_numbers)
    return TabularMLPSettings(d_hidden=(width, width), n_bins=min(16, max(2, bins)))


def _members(auto: AutoSettings, shape: TableShape) -> Iterator[tuple[MemberSettings, Reason]]:
    trees = boosting_settings(shape)
    rows = f"{shape.n_train:,} training rows"
    yield (
        trees,
        Reason(
            "boosting",
            f"learning_rate {trees.learning_rate:g} and {trees.num_leaves} leaves for {rows}",
        ),
    )
    if shape.n_train < _LARGE_ROWS / 10:
        yield (
            _settings_of_large(trees),
            Reason(
                "boosting with LightGBM's own settings",
                "for exact rules: fast steps, and each tree sees all columns and rows",
            ),
        )
    many = [n for n in shape.n_categories if n > 2]
    if many:
        said = f"{len(many)} of {len(shape.n_categories)} category columns have more than 2"
        yield (
            trees.model_copy(update={"target_statistics": True}),
            Reason("boosting with target statistics", f"{said} categories, up to {max(many):,}"),
        )
    if auto.effort == "standard":
        network = network_settings(shape)
        bins = f"{network.n_bins} bins for each of {shape.n_numbers} numbers"
        yield (
            network,
            Reason(
                "tabular_mlp",
                f"effort is standard; {network.d_hidden[0]} wide, {network.n_shared} members that "
                "share weights" + (f", {bins}" if shape.n_numbers else ""),
            ),
        )
    yield LinearSettings(), Reason("linear", "costs next to nothing, and gets no weight if useless")


def _why_training(training: TrainingSettings, shape: TableShape, left: set[str]) -> str:
    rows = training.batch_size
    batches = "all rows at once" if rows == "full" else f"batches of {rows}"
    kept = sorted(CHOSEN - left)
    said = f"at most {training.epochs} epochs of {batches} for {shape.n_train:,} training rows"
    return said + (f"; {', '.join(kept)} as the config sets" if kept else "")


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in found["loc"])
    return f"{place}: {found['msg']}" if place else str(found["msg"])
