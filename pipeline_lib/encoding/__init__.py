"""Words and numbers become codes and floats here, and codes become words again."""

from pipeline_lib.encoding.encoder import Encoder
from pipeline_lib.encoding.labels import Labels, LabelType
from pipeline_lib.encoding.numeric import Standardizer
from pipeline_lib.encoding.target import (
    ClassTarget,
    NumberTarget,
    Target,
    fit_target,
    target_from_json,
    target_to_json,
)
from pipeline_lib.encoding.tensors import EncodedSplit, read_split
from pipeline_lib.encoding.vocabulary import MISSING, N_RESERVED, UNSEEN, Vocabulary
from pipeline_lib.encoding.weights import RowWeights

__all__ = [
    "MISSING",
    "N_RESERVED",
    "UNSEEN",
    "ClassTarget",
    "EncodedSplit",
    "Encoder",
    "LabelType",
    "Labels",
    "NumberTarget",
    "RowWeights",
    "Standardizer",
    "Target",
    "Vocabulary",
    "fit_target",
    "read_split",
    "target_from_json",
    "target_to_json",
]
