"""What a model of any kind offers: scores of encoded rows, files without pickle, its size.

`pipeline_lib.serving` saves, loads and asks it; so do the comparison with the champion and the
package. How it learns is its kind's business: see `pipeline_lib.models.network` for kinds that
learn by epochs, `pipeline_lib.models.estimator` for kinds that are fitted in one call.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline_lib.config.settings import Settings
from pipeline_lib.encoding import ClassTarget, Encoder, Target
from pipeline_lib.storage.json_files import Json

WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True)
class Dimensions:
    """How wide encoded rows and answers are.

    `cardinalities` are codes per category column, reserved ones included; `n_numeric` is the
    width of `x_num`; `d_out` the number of logits: one per class, a single one for two classes or
    for a number; `n_classes` is 0 for a regression.
    """

    cardinalities: tuple[int, ...]
    n_numeric: int
    d_out: int
    n_classes: int

    @classmethod
    def of(cls, encoder: Encoder, target: Target) -> "Dimensions":
        """Return the dimensions of what an encoder and a target make of rows."""
        n_classes = len(target.classes) if isinstance(target, ClassTarget) else 0
        return cls(encoder.cardinalities, encoder.n_numeric, target.d_out, n_classes)


class Model(Protocol):
    """A trained model of any kind."""

    def scores(
        self, x_cat: npt.NDArray[np.int32], x_num: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float64]:
        """Return class probabilities, or standardized numbers.

        Shape:
            x_cat: ``(n_rows, n_category_columns)`` codes; x_num: ``(n_rows, n_numeric)``;
            output: ``(n_rows, n_classes)``, of a regression ``(n_rows, 1)``.
        """
        ...

    def save(self, folder: Path) -> Mapping[str, Json]:
        """Write the files of its kind; return what model.json has to hold for `Kind.load`."""
        ...

    @property
    def size(self) -> str:
        """How large it is, for the page: `1,234 weights`."""
        ...


@dataclass(frozen=True)
class Kind(ABC):
    """A kind of model with its settings; subclasses are the ways of learning.

    A new kind is a class of settings in `pipeline_lib.config.models`, a file here, and a `case`
    in `pipeline_lib.models.build`.
    """

    settings: Settings

    @property
    @abstractmethod
    def name(self) -> str:
        """The `kind` of the settings."""

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the files that `Model.save` writes; a saved model must have them."""
        return (WEIGHTS_FILE,)

    def files_of(self, spec: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the files of a saved model, of which model.json says `spec`."""
        del spec
        return self.files

    @property
    def requirements(self) -> tuple[str, ...]:
        """The distributions that its models need to predict, beside what all models need."""
        return ()

    def obstacle(self, champion: Settings) -> str:
        """Return why a model cannot start from one with these settings; empty where it can."""
        del champion
        return f"a model of kind {self.name} has no first weights, it is fitted anew"

    @abstractmethod
    def load(self, folder: Path, spec: Mapping[str, Any], dimensions: Dimensions) -> Model:
        """Read what `Model.save` wrote, onto the CPU; nothing is unpickled.

        Whatever it raises is reported as a model that cannot be read, with the folder's name.

        Args:
            folder: its files are those of its manifest.
            spec: what model.json holds.
            dimensions: of the encoder and the target beside it.
        """
