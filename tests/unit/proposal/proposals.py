"""Proposals for tables of tests, each loaded as a config and held to its table."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline_lib.config import PipelineConfig, load_config
from pipeline_lib.proposal.config_yaml import config_text
from pipeline_lib.proposal.propose import Proposal, propose
from pipeline_lib.proposal.sniff import guess_source
from tests.unit.data.in_memory import check_rows, read_source

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
N = 400
LABELS = ["no", "yes", "no", "no"] * (N // 4)


@dataclass(frozen=True)
class Proposed:
    """A proposal, and the config that came of it."""

    proposal: Proposal
    text: str
    config: PipelineConfig

    @property
    def kinds(self) -> dict[str, str]:
        return {name: column.kind for name, column in self.config.columns.items()}

    @property
    def left_out(self) -> dict[str, str]:
        return {c.name: c.reason for c in self.proposal.left_out}

    def reason(self, name: str) -> str:
        return next(c.reason for c in self.proposal.columns if c.name == name)


def proposed(path: Path, target: str, folder: Path) -> Proposed:
    """Propose a config for a file, load it, and hold the file to it."""
    guessed = guess_source(str(path), root=folder)
    rows = read_source(guessed.source, root=folder)
    proposal = propose(rows, guessed.source, target, name="toy", notes=guessed.notes)
    text = config_text(proposal)
    (folder / "toy.yaml").write_text(text, encoding="utf-8")
    config = load_config(folder / "toy.yaml")
    columns, data = config.columns, config.data
    check_rows(read_source(data.source, root=folder), columns, data, config.validation, source="it")
    return Proposed(proposal, text, config)


def written(folder: Path, columns: dict[str, list[str]], delimiter: str = ",") -> Path:
    text = io.StringIO()
    rows = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    rows.writerow(columns)
    rows.writerows(zip(*columns.values(), strict=True))
    path = folder / "toy.csv"
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def of(folder: Path, target: list[str] | None = None, **columns: list[str]) -> Proposed:
    """Propose for a CSV file with these columns, a plain feature and a target `y`."""
    filler = {"plain": [f"{v:.3f}" for v in np.random.default_rng(0).normal(size=N)]}
    path = written(folder, {**columns, **filler, "y": LABELS if target is None else target})
    return proposed(path, "y", folder)


def cycled(*values: str) -> list[str]:
    return [values[(i * 7 + i // 11) % len(values)] for i in range(N)]


def real(name: str, target: str, folder: Path) -> Proposed:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is not there")
    return proposed(path, target, folder)
