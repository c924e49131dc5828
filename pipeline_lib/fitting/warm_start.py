"""Whether the model in use can give tonight's network its first weights."""

from pipeline_lib.config import PipelineConfig
from pipeline_lib.encoding import Encoder
from pipeline_lib.models.carry_over import shared_columns
from pipeline_lib.serving import FittedModel


def obstacle(champion: FittedModel, config: PipelineConfig, encoder: Encoder) -> str:
    """Return why a champion's weights do not fit tonight's network; nothing if they do."""
    column, task = config.data.target, config.data.task
    if champion.target.column != column or champion.task != task:
        return f"it predicts {champion.target.column!r} ({champion.task}), not {column!r} ({task})"
    theirs, ours = champion.settings, config.model
    for name in ("kind", "d_hidden", "d_embedding_max"):
        before, now = getattr(theirs, name), getattr(ours, name)
        if before != now:
            return f"its network has {name} {_text(before)}, the config {_text(now)}"
    if not shared_columns(champion.encoder, encoder):
        return "it shares no column with the config"
    return ""


def _text(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
