"""A weighted mean of models of other kinds, which may learn in other ways."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from pipeline_lib.config.models import BlendSettings, BoostingSettings, MemberSettings
from pipeline_lib.models.model import Dimensions, Kind, Model
from pipeline_lib.storage.json_files import Json

if TYPE_CHECKING:
    from pipeline_lib.models.build import MemberKind

FOLDER = "members"
TEMPERATURES = (0.5, 3.0)


@dataclass(frozen=True)
class BlendMember:
    """A model with its weight, and the position of its settings among those of the blend."""

    position: int
    weight: float
    model: Model


@dataclass(frozen=True)
class BlendModel:
    """Members whose weights are above 0 and add up to 1.

    `temperature` divides the logarithms of the mean probabilities: above 1 they are less sure.
    """

    members: tuple[BlendMember, ...]
    n_classes: int
    temperature: float = 1.0

    def scores(
        self, x_cat: npt.NDArray[np.int32], x_num: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float64]:
        """See `Model.scores`."""
        parts = [member.weight * member.model.scores(x_cat, x_num) for member in self.members]
        mean = reduce(np.add, parts)
        return tempered(mean, self.temperature) if self.n_classes else mean

    def save(self, folder: Path) -> Mapping[str, Json]:
        """See `Model.save`; each member has a folder."""
        entries: list[Json] = []
        for number, member in enumerate(self.members):
            place = folder / FOLDER / str(number)
            place.mkdir(parents=True)
            of_kind: Json = dict(member.model.save(place))
            entries.append({"position": member.position, "weight": member.weight, "model": of_kind})
        return {"members": entries, "temperature": self.temperature}

    @property
    def size(self) -> str:
        """See `Model.size`."""
        sizes = [member.model.size for member in self.members]
        return sizes[0] if len(sizes) == 1 else f"{len(sizes)} members: {', '.join(sizes)}"


@dataclass(frozen=True)
class BlendKind(Kind):
    """`blend`: how its members learn, and how their weights are chosen, is `fitting`'s."""

    settings: BlendSettings

    @property
    def name(self) -> str:
        """See `Kind.name`."""
        return self.settings.kind

    @property
    def members(self) -> "tuple[MemberKind, ...]":
        """The kinds of the members."""
        from pipeline_lib.models.build import member_kind

        return tuple(member_kind(settings) for settings in self.settings.members)

    @property
    def requirements(self) -> tuple[str, ...]:
        """See `Kind.requirements`."""
        return tuple(sorted({name for kind in self.members for name in kind.requirements}))

    def files_of(self, spec: Mapping[str, Any]) -> tuple[str, ...]:
        """See `Kind.files_of`: those of all members that have a weight."""
        return tuple(
            f"{FOLDER}/{number}/{name}"
            for number, entry in enumerate(self._entries(spec))
            for name in self.members[entry["position"]].files_of(entry["model"])
        )

    def load(self, folder: Path, spec: Mapping[str, Any], dimensions: Dimensions) -> BlendModel:
        """See `Kind.load`."""
        members: list[BlendMember] = []
        for number, entry in enumerate(self._entries(spec)):
            kind, of_kind = self.members[entry["position"]], entry["model"]
            place = folder / FOLDER / str(number)
            model = kind.load(place, {**of_kind, "version": spec["version"]}, dimensions)
            members.append(BlendMember(entry["position"], float(entry["weight"]), model))
        temperature = float(spec["temperature"])
        if not TEMPERATURES[0] <= temperature <= TEMPERATURES[1]:
            raise ValueError(f"no blend has the temperature {temperature}")
        if not math.isclose(sum(member.weight for member in members), 1.0, abs_tol=1e-6):
            raise ValueError("the weights of the members do not add up to 1")
        return BlendModel(tuple(members), dimensions.n_classes, temperature)

    def _entries(self, spec: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return what model.json says of each member.

        Raises:
            ValueError: there are no such members.
        """
        entries: Any = spec["members"]
        positions = [entry["position"] for entry in entries]
        if not positions or sorted(set(positions)) != positions:
            raise ValueError("a blend has members, each of them once")
        if not all(type(p) is int and 0 <= p < len(self.settings.members) for p in positions):
            raise ValueError("a member is none of the settings'")
        if not all(0 < float(entry["weight"]) <= 1 for entry in entries):
            raise ValueError("a weight of a member is not above 0")
        return entries


def tempered(probs: npt.NDArray[np.float64], temperature: float) -> npt.NDArray[np.float64]:
    """Return probabilities whose logarithms are divided by a temperature; rows add up to 1."""
    if temperature == 1:
        return probs
    powers = probs ** (1 / temperature)
    return powers / powers.sum(axis=1, keepdims=True)


def label_of(settings: MemberSettings) -> str:
    """Return what the log and the page call a member."""
    if not isinstance(settings, BoostingSettings):
        return settings.kind
    if settings.target_statistics:
        return f"{settings.kind} with target statistics"
    is_whole = settings.feature_fraction == settings.bagging_fraction == 1
    return settings.kind + (" on all rows and columns" if is_whole else "")
