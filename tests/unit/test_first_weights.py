"""The start of a training from files: whose weights, and what a checkpoint belongs to."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from pipeline_lib import fit
from pipeline_lib.config import PipelineConfig
from pipeline_lib.data.splits.split_rows import typed_to_split
from pipeline_lib.encoding import EncodedSplit, Encoder, Target
from pipeline_lib.fitting import Start, split_rows, start_on_rows, start_training
from pipeline_lib.serving import FittedModel
from pipeline_lib.training.keeper import Keeper
from tests.unit.encoding.in_memory import write_split

MakeConfig = Callable[..., PipelineConfig]
MakeTable = Callable[..., pa.Table]


@dataclass(frozen=True)
class Version:
    """A registered version."""

    model: FittedModel | None
    version: str = "7"
    problem: str = ""
    sha256: str = "abc"


@dataclass(frozen=True)
class Files:
    """Encoded splits on the disk."""

    folder: Path
    encoder: Encoder
    target: Target

    def read_encoder(self) -> Encoder:
        return self.encoder

    def read_target(self) -> Target:
        return self.target

    def path(self, split: str) -> Path:
        return self.folder / split


@pytest.fixture
def start(table_config: MakeConfig, toy_table: MakeTable, tmp_path: Path) -> Callable[..., Start]:
    """Return a function that starts a training of 200 rows."""

    def begin(champion: Version | None = None, **sections: Any) -> Start:
        kind = sections.pop("kind", None)
        config, table = table_config(**sections), toy_table(200)
        if kind is not None:
            tree = {**config.model_dump(mode="json"), "model": {"kind": kind}}
            config = PipelineConfig.model_validate(tree)
        session = start_on_rows(config, table)
        parts = split_rows(typed_to_split(table, config), config)
        for name, rows in zip(("train", "val"), parts, strict=False):
            split = EncodedSplit.of(rows, session.encoder, session.target)
            write_split(tmp_path / name, split, session.encoder, session.target)
        files: Any = Files(tmp_path, session.encoder, session.target)
        return start_training(config, files, run_key="k", champion=champion)

    return begin


@pytest.fixture
def champion(table_config: MakeConfig, toy_table: MakeTable) -> FittedModel:
    """Return a model of the same rows."""
    return fit(table_config(), toy_table(200))


WARM = {"training": {"start_from": "champion", "warm_share": 0.8}}


def test_fresh_weights_are_not_worth_a_word(
    start: Callable[..., Start], champion: FittedModel
) -> None:
    fresh = start(Version(champion))

    assert fresh.first_weights == ""
    assert fresh.version == ""
    assert fresh.key == f"k {fresh.session.encoder.fingerprint()} {torch.__version__}"


def test_a_checkpoint_belongs_to_the_champion_that_gave_the_weights(
    start: Callable[..., Start], champion: FittedModel
) -> None:
    fresh, one = start(), start(Version(champion), **WARM)
    other = start(Version(champion, sha256="def"), **WARM)

    assert one.first_weights == "80% of champion v7, 2 of 2 columns"
    assert one.version == "7"
    assert not one.is_refused
    assert len({fresh.key, one.key, other.key}) == 3


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"kind": "linear"}, "a model of kind linear has no first weights, it is fitted anew"),
        ({"model": {"d_hidden": [9]}}, "its network has d_hidden [8], the config [9]"),
    ],
)
def test_a_champion_that_cannot_be_started_from_is_a_warning_and_no_error(
    start: Callable[..., Start],
    champion: FittedModel,
    tmp_path: Path,
    changed: dict[str, Any],
    why: str,
) -> None:
    refused = start(Version(champion), **WARM, **changed)

    keeper = Keeper(refused.session.training.resumable, tmp_path, key=refused.key, every_s=1)
    level, line = refused.opening_lines(keeper)[0]

    assert (level, line) == (
        logging.WARNING,
        f"first weights: fresh, without champion v7: {why}",
    )
    assert refused.version == ""
    assert refused.is_refused
    assert "abc" not in refused.key


def test_a_champion_that_is_not_there_is_no_warning(
    start: Callable[..., Start], tmp_path: Path
) -> None:
    first = start(None, **WARM)

    keeper = Keeper(first.session.training.resumable, tmp_path, key=first.key, every_s=1)

    assert first.opening_lines(keeper)[0] == (
        logging.INFO,
        "first weights: fresh, for there is no champion yet",
    )


def test_a_champion_with_a_problem_is_named_with_it(start: Callable[..., Start]) -> None:
    lost = start(Version(None, problem="its files were changed"), **WARM)

    assert lost.first_weights == "fresh, without champion v7: its files were changed"
