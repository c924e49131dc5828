"""Whether the model in use can give a network its first weights."""

from pipeline_lib.config import PipelineConfig
from pipeline_lib.encoding import Encoder
from pipeline_lib.models import Kind
from pipeline_lib.models.carry_over import shared_columns
from pipeline_lib.serving import FittedModel


def obstacle(champion: FittedModel, config: PipelineConfig, encoder: Encoder, kind: Kind) -> str:
    """Return why a champion's weights are not what a model of a kind starts from; "" if they are.

    Args:
        champion: the model in use.
        config: of the dataset.
        encoder: of the new rows.
        kind: of the new model.
    """
    column, task = config.data.target, config.data.task
    if champion.target.column != column or champion.task != task:
        return f"it predicts {champion.target.column!r} ({champion.task}), not {column!r} ({task})"
    if why_not := kind.obstacle(champion.kind.settings):
        return why_not
    if not shared_columns(champion.encoder, encoder):
        return "it shares no column with the config"
    return ""
