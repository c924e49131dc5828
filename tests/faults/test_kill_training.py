"""SIGKILL at twenty random moments: weights and curve are those of an unbroken training."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]

# One process imports torch and forks the victims, so that each of them trains at once.
SCRIPT = """
import hashlib, json, os, random, signal, sys, time
from pathlib import Path
import torch
from pipeline_lib.home import find_home
from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.training import TrainingSettings
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.models import EmbeddingMLP
from pipeline_lib.tracking.epochs import EpochLog
from pipeline_lib.tracking.runs import TrackedRun, start_run
from pipeline_lib.training.keeper import Keeper
from pipeline_lib.training.loop import TrainingLoop
from pipeline_lib.training.members import Members
from pipeline_lib.training.rows import TensorSplit

N_KILLS, EPOCHS = 20, 100
ENDED = os.WEXITED | os.WNOHANG | os.WNOWAIT
torch.set_num_threads(1)
config = PipelineConfig.model_validate({
    "name": "killed",
    "data": {"source": {"kind": "csv", "path": "x"}, "target": "y", "task": "binary"},
    "columns": {"a": {"kind": "category"}},
})


def make(member):
    random_ = torch.Generator().manual_seed(0)
    x_num = torch.randn(3000, 3, generator=random_)
    x_cat = torch.randint(0, 300, (3000, 2), generator=random_).to(torch.int32)
    split = TensorSplit(x_cat, x_num, (x_num.sum(dim=1) > 0).long())
    torch.manual_seed(member)
    model = EmbeddingMLP((300, 300), n_numeric=3, d_out=1, d_hidden=(32,), dropout=0.2)
    settings = {
        "epochs": EPOCHS, "batch_size": 64, "device": "cpu", "sparse_above": 100,
        "scheduler": {"kind": "onecycle"}, "seed": member,
    }
    return TrainingLoop(
        model, split.slice(0, 2500), split.slice(2500, 3000), task="binary", primary="accuracy",
        training=TrainingSettings.model_validate(settings), n_classes=2,
    )


def train(folder):
    os.environ["EVERGREEN_HOME"] = str(folder)
    members = Members(make, 2)
    snapshot = Snapshot(folder, "ab" * 32, 3000, "toy", dataset=find_home().dataset("toy"))
    tags = {"trigger": "test"}
    how = {"run_key": "k", "run_name": "n"}
    with start_run(config, find_home(), snapshot, tags=tags, **how) as reference:
        run = TrackedRun.of(reference)
        keeper = Keeper(members, folder, key="k", every_s=0.01)
        log = EpochLog(
            folder / "epochs.jsonl", run, primary="accuracy", history=members.history
        )
        with log, keeper, (folder / "resumed.txt").open("a") as told:
            told.write((keeper.resumed_at or "member 1 of 2, epoch 1") + "\\n")
            told.flush()
            for record in members.epochs(lambda _: keeper.save_if_due()):
                log.append(record)
                keeper.save_if_due()
        log.flush()
        curve = [
            (point.step, point.value)
            for point in run.client.get_metric_history(run.run_id, "val/loss")
        ]
    digest = hashlib.sha256()
    for model in members.models:
        for weights in model.state_dict().values():
            digest.update(weights.numpy().tobytes())
    history = [{**record.to_json(), "epoch_s": 0} for record in members.history]
    result = {"weights": digest.hexdigest(), "history": history, "curve": curve}
    (folder / "result.json").write_text(json.dumps(result))


def saved_at(folder):
    path = folder / "checkpoint.pt"
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def n_epochs(folder):
    return (folder / "epochs.jsonl").read_bytes().count(b"\\n")


def forked(folder, kill_after=None, then_s=0.0):
    # Killed so many epochs and seconds after its first checkpoint, so that each child gets on.
    # Epochs are counted: a busy machine trains slowly at one time and fast at another.
    before = saved_at(folder)
    pid = os.fork()
    if pid == 0:
        train(folder)
        os._exit(0)
    if kill_after is not None:
        while saved_at(folder) == before:
            time.sleep(0.001)
        last = n_epochs(folder) + kill_after
        while n_epochs(folder) < last and not os.waitid(os.P_PID, pid, ENDED):
            time.sleep(0.001)
        time.sleep(then_s)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


home = Path(sys.argv[1])
unbroken, killed = home / "unbroken", home / "killed"
unbroken.mkdir(); killed.mkdir()
assert forked(unbroken) == 0
history = json.loads((unbroken / "result.json").read_text())["history"]
seconds = sum(json.loads(line)["epoch_s"] for line in (unbroken / "epochs.jsonl").open())
moments = random.Random(int(sys.argv[2]))
ends = [
    forked(killed, moments.randint(6, 8), moments.uniform(0, seconds / 200))
    for _ in range(N_KILLS)
]
ends.append(forked(killed))
print(json.dumps(ends))
"""


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1])
def test_twenty_kills_cost_nothing_but_time(tmp_path: Path, seed: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path), str(seed)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    ends = done.stdout.strip()
    assert ends == str([-9] * 20 + [0]), "a training ended before it could be killed"
    resumed = (tmp_path / "killed" / "resumed.txt").read_text().splitlines()
    assert len(set(resumed)) > 5, resumed
    assert any("member 2" in place for place in resumed)
    killed, unbroken = (
        json.loads((tmp_path / name / "result.json").read_text()) for name in ("killed", "unbroken")
    )
    assert killed == unbroken
    assert [step for step, _ in killed["curve"]] == list(range(1, 201))
    left = [file.name for file in (tmp_path / "killed").glob(".checkpoint*")]
    assert left == []
