"""What a model, or a member of a blend, cannot do: it is refused, not ignored."""

from collections.abc import Iterator
from importlib.util import find_spec

from pipeline_lib.config.mistakes import Keys, Mistake, wrong
from pipeline_lib.config.models import (
    AutoSettings,
    BlendSettings,
    BoostingSettings,
    CatBoostSettings,
)
from pipeline_lib.config.settings import Settings
from pipeline_lib.config.training import CrossEntropy, LossSettings

CATBOOST_INSTALLATION = "pip install 'evergreen-tables[catboost]'"


def unheeded_smoothing(model: Settings, loss: LossSettings | None) -> Iterator[Mistake]:
    """Yield that trees have no label smoothing, where a loss has some."""
    if not isinstance(loss, CrossEntropy) or not loss.label_smoothing:
        return
    if isinstance(model, AutoSettings):
        said = "the trees of `auto` cannot learn with label smoothing; set it to 0"
        yield wrong(said, "training.loss.label_smoothing")
        return
    for kind, keys in _models(model):
        if isinstance(kind, BoostingSettings | CatBoostSettings):
            what = "a model" if len(keys) == 1 else "a member"
            said = f"{what} of kind {kind.kind} cannot learn with label smoothing; set it to 0"
            yield wrong(said, "training.loss.label_smoothing")
            return


def missing_libraries(model: Settings) -> Iterator[Mistake]:
    """Yield the kinds whose library, an extra, is not installed."""
    for kind, keys in _models(model):
        if isinstance(kind, CatBoostSettings) and not _is_installed("catboost"):
            said = f"catboost is not installed; `{CATBOOST_INSTALLATION}` brings it"
            yield wrong(said, (*keys, "kind"))


def _models(model: Settings) -> Iterator[tuple[Settings, Keys]]:
    """Yield the model, or the members of a blend, with their keys."""
    if not isinstance(model, BlendSettings):
        yield model, ("model",)
        return
    for position, member in enumerate(model.members):
        yield member, ("model", "members", position)


def _is_installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except ValueError:  # something without a spec has its name
        return False
