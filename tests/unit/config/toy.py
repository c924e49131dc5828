"""A config of a toy table, and what is wrong with a changed one."""

from pathlib import Path

import pytest

from pipeline_lib.config import load_config
from pipeline_lib.errors import ConfigError

TEXT = """\
name: toy
data:
  source: {kind: csv, path: toy.csv}
  target: label
  task: multiclass
columns:
  color: {kind: category}
  size: {kind: number}
training:
  epochs: 50
  optimizer: {kind: adam, learning_rate: 0.01}
  scheduler:
    kind: step
    step_size: 5
"""


def write(folder: Path, text: str) -> Path:
    """Write a config into a folder and return its place."""
    path = folder / "toy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def problems_of(folder: Path, text: str, *assignments: str) -> list[str]:
    """Return the problems of a config that is wrong, without the folder of its file."""
    path = write(folder, text)
    with pytest.raises(ConfigError) as raised:
        load_config(path, assignments=assignments)
    assert raised.value.exit_code == 2
    return [str(problem).replace(f"{folder}/", "") for problem in raised.value.problems]
