"""SIGKILL in a run of a blend within a budget: it goes on, by the plan that it began with."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline_lib.home import find_home

PROJECT = Path(__file__).resolve().parents[2]

CONFIG = """
name: killed
data: {source: {kind: builtin, table: car_evaluation}, target: output, task: multiclass}
columns:
  price: {kind: category}
  maint: {kind: category}
  doors: {kind: category}
  persons: {kind: category}
  lug_capacity: {kind: category}
  safety: {kind: category}
model: {kind: auto}
training: {device: cpu, checkpoint_s: 0.05, budget_s: 25}
promotion: {floor: 0.5}
"""


def _started(project: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "evergreen", "run", "configs/killed.yaml"]
    return subprocess.Popen(
        command,
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _checkpoints(home: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in home.glob("runs/*/checkpoint.pt")}


def _killed_after_checkpoints(project: Path, home: Path, n_more: int) -> None:
    """Start a run and kill it once it has written so many checkpoints."""
    process, seen = _started(project), _checkpoints(home)
    while n_more:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
        if (now := _checkpoints(home)) != seen:
            seen, n_more = now, n_more - 1
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.slow
def test_a_killed_blend_goes_on_and_keeps_the_plan_of_its_budget(tmp_path: Path) -> None:
    project, home = tmp_path / "project", find_home().root
    (project / "configs").mkdir(parents=True)
    (project / "prefect.yaml").touch()
    (project / "configs" / "killed.yaml").write_text(CONFIG, encoding="utf-8")

    _killed_after_checkpoints(project, home, 1)
    (plan,) = home.glob("runs/*/plan.json")
    planned = plan.read_bytes()
    _killed_after_checkpoints(project, home, 3)
    last = _started(project)
    said, _ = last.communicate()

    assert last.returncode == 0, said
    assert "resumes at member" in said
    assert "promoted (version 1)" in said
    assert plan.read_bytes() == planned
    (page,) = home.glob("runs/*/report.md")
    assert "by speeds measured on this machine" in page.read_text("utf-8")
