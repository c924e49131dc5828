"""The start of a run's training: whose weights it begins with, and what a checkpoint belongs to.

A run should not fail over a shortcut: where the champion cannot be started from, weights are
fresh, and the reason stands in the log, in MLflow and on the page.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from pipeline_lib.config import PipelineConfig
from pipeline_lib.encoding import NumberTarget, target_to_json
from pipeline_lib.encoding.encoded_splits import EncodedData
from pipeline_lib.fitting.session import TrainingSession
from pipeline_lib.home import Home
from pipeline_lib.serving import FittedModel
from pipeline_lib.storage.digests import digest_json
from pipeline_lib.training.keeper import Keeper


class Offered(Protocol):
    """A version of the registered model that a training may start from."""

    @property
    def version(self) -> str:
        """Its number."""
        ...

    @property
    def model(self) -> FittedModel | None:
        """The model; None where `problem` says why it cannot be used."""
        ...

    @property
    def problem(self) -> str:
        """Why it cannot be used."""
        ...

    @property
    def sha256(self) -> str:
        """The digest of its package."""
        ...


@dataclass(frozen=True)
class Start:
    """A training about to begin.

    `key` is all that decides the weights: a checkpoint belongs to it. `first_weights` describes
    them, empty where nothing but fresh ones was asked for; `version` is the one that they are
    from, if they are one's; `is_refused` says that there is a champion they could not be from.
    """

    session: TrainingSession
    key: str
    first_weights: str = ""
    version: str = ""
    is_refused: bool = False

    def opening_lines(self, keeper: Keeper) -> list[tuple[int, str]]:
        """Return what is about to happen, for the log, each line with its level."""
        session, lines = self.session, list[tuple[int, str]]()
        if self.first_weights:
            level = logging.WARNING if self.is_refused else logging.INFO
            lines.append((level, f"first weights: {self.first_weights}"))
        lines += [(logging.WARNING, note) for note in keeper.notes]
        lines += [(logging.INFO, f"auto: {reason}") for reason in session.reasons]
        lines += [(logging.INFO, f"budget: {line}") for line in session.bought]
        lines.append((logging.INFO, f"on {session.device_name}, {session.training.plan}"))
        lines += [(logging.WARNING, note) for note in session.notes_before()]
        if keeper.resumed_at:
            lines.append((logging.INFO, f"resumes at {keeper.resumed_at}"))
        return lines

    def facts(self) -> dict[str, str]:
        """Return what a report says of the training, once it is done."""
        facts = self.session.facts()
        return facts | ({"first weights": self.first_weights} if self.first_weights else {})


def start_training(
    config: PipelineConfig,
    encoded: EncodedData,
    *,
    run_key: str,
    champion: Offered | None,
    home: Home | None = None,
    plan: Path | None = None,
) -> Start:
    """Open encoded splits and choose the first weights.

    Args:
        config: of the dataset.
        encoded: both splits on the disk, with encoder and target.
        run_key: of the rows, config and code.
        champion: may give the first weights, if `training.start_from` asks for it.
        home: keeps compiled code; the working directory's without it.
        plan: the file that keeps what `training.budget_s` buys.

    Raises:
        DeviceError: the device asked for is not there.
        TrainingError: see `TrainingSession.start`.
    """
    encoder, target = encoded.read_encoder(), encoded.read_target()
    is_asked = config.training.start_from == "champion"
    session = TrainingSession.start(
        config,
        encoder,
        target,
        encoded.path("train"),
        encoded.path("val"),
        champion=champion.model if is_asked and champion is not None else None,
        home=home,
        plan=plan,
    )
    key = f"{run_key} {encoder.fingerprint()} {torch.__version__}"
    if session.reasons or session.bought:
        settings = session.config.model_dump(mode="json", include={"model", "training"})
        key += f" {digest_json(settings)}"
    if isinstance(target, NumberTarget) and target.scale_said:
        key += f" {digest_json(target_to_json(target))}"
    if not is_asked:
        return Start(session, key)
    if champion is None:
        return Start(session, key, "fresh, for there is no champion yet")
    if (carried := session.training.carried) is not None:
        share = config.training.warm_share
        mixed = f"{share:.0%} of " if share < 1 else ""
        described = f"{mixed}champion v{champion.version}, {carried}"
        return Start(session, f"{key} {champion.sha256}", described, champion.version)
    why_not = champion.problem or session.obstacle
    described = f"fresh, without champion v{champion.version}: {why_not}"
    return Start(session, key, described, is_refused=True)
