"""From a config and encoded rows to the kind of model that is trained."""

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.automatic import Reason, TableShape, choose
from pipeline_lib.config.models import AutoSettings
from pipeline_lib.encoding import ClassTarget, Encoder, Target
from pipeline_lib.encoding.vocabulary import N_RESERVED
from pipeline_lib.models import ModelKind, model_kind


def chosen(
    config: PipelineConfig,
    encoder: Encoder,
    target: Target,
    n_train: int,
    kind: ModelKind | None = None,
) -> tuple[PipelineConfig, ModelKind, tuple[Reason, ...]]:
    """Return the config with what `model: {kind: auto}` chooses, its kind, and the reasons.

    Args:
        config: of the dataset; one that names a kind of model is returned as it is.
        encoder: of the rows.
        target: likewise.
        n_train: training rows.
        kind: in place of the one that the config asks for.

    Raises:
        TrainingError: what the config sets does not go with what is chosen for the rest.
    """
    model = config.model
    if not isinstance(model, AutoSettings):
        return config, kind or model_kind(model), ()
    choice = choose(model, config.training, shape_of(encoder, target, n_train))
    if kind is not None:  # trained as a network of the choice would be
        return config.model_copy(update={"training": choice.training}), kind, ()
    whole = config.model_copy(update={"model": choice.model, "training": choice.training})
    return whole, model_kind(choice.model), choice.reasons


def shape_of(encoder: Encoder, target: Target, n_train: int) -> TableShape:
    """Return what the rules of `auto` look at."""
    n_classes = len(target.classes) if isinstance(target, ClassTarget) else 0
    categories = tuple(max(0, n - N_RESERVED) for n in encoder.cardinalities)
    return TableShape(n_train, n_classes, categories, encoder.n_numeric)
