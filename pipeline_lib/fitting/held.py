"""The baselines that a training has made: they are kept beside the model, and not trained again."""

from pathlib import Path

from pipeline_lib.config.baselines import Baseline
from pipeline_lib.config.models import BoostingSettings, LinearSettings
from pipeline_lib.evaluation.results import HeldBaseline
from pipeline_lib.fitting.session import TrainingSession
from pipeline_lib.fitting.training import Part
from pipeline_lib.serving import FittedModel


def save_held(
    session: TrainingSession, model_folder: Path, folder: Path
) -> dict[Baseline, HeldBaseline]:
    """Save the members of a trained model that are baselines of its config.

    A baseline is the model itself if that is of its kind; else the member of a blend that has the
    kind's default settings, or the first of the kind, be its weight 0. Nothing is added to the
    model: `folder` is not served.

    Args:
        session: whose training has ended.
        model_folder: where the model is saved.
        folder: gets a folder for each baseline; those of an earlier attempt are replaced.

    Raises:
        StorageError: a folder cannot be written.
    """
    found: dict[Baseline, HeldBaseline] = {}
    for baseline in session.config.evaluation.baselines:
        part = _part(baseline, session)
        if part is None:
            continue
        again = ", fitted again on training and validation rows" if part.is_refit else ""
        note = f"the baseline {baseline} is {part.name}{again}; it was not trained twice"
        place = model_folder if part.is_whole else folder / baseline
        if not part.is_whole:
            _fitted(session, part).save(place)
        found[baseline] = HeldBaseline(place, part.fit_s, note, is_model=part.is_whole)
    return found


def _part(baseline: Baseline, session: TrainingSession) -> Part | None:
    settings = {"linear": LinearSettings, "boosting": BoostingSettings}.get(baseline)
    if settings is None:
        return None
    of_kind = [part for part in session.training.parts if type(part.kind.settings) is settings]
    return min(of_kind, key=lambda part: part.kind.settings != settings(), default=None)


def _fitted(session: TrainingSession, part: Part) -> FittedModel:
    whole = session.fitted()
    return FittedModel(whole.name, whole.task, part.kind, whole.encoder, whole.target, part.model)
