"""SIGKILL at twenty random moments of a training: its weights are those of an unbroken one."""

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
from pipeline_lib.config import TrainingSettings
from pipeline_lib.models import EmbeddingMLP
from pipeline_lib.training.keeper import Keeper
from pipeline_lib.training.loop import TrainingLoop
from pipeline_lib.training.rows import TensorSplit

N_KILLS, EPOCHS = 20, 200
torch.set_num_threads(1)


def train(folder):
    random_ = torch.Generator().manual_seed(0)
    x_num = torch.randn(3000, 3, generator=random_)
    x_cat = torch.randint(0, 300, (3000, 2), generator=random_).to(torch.int32)
    split = TensorSplit(x_cat, x_num, (x_num.sum(dim=1) > 0).long())
    torch.manual_seed(1)
    model = EmbeddingMLP((300, 300), n_numeric=3, d_out=1, d_hidden=(32,), dropout=0.2)
    settings = {
        "epochs": EPOCHS, "batch_size": 64, "device": "cpu", "sparse_above": 100,
        "scheduler": {"kind": "onecycle"},
    }
    loop = TrainingLoop(
        model, split.slice(0, 2500), split.slice(2500, 3000), task="binary", primary="accuracy",
        training=TrainingSettings.model_validate(settings), n_classes=2,
    )
    keeper = Keeper(loop, folder, key="k", every_s=0.01)
    with keeper, (folder / "resumed.txt").open("a") as told:
        told.write((keeper.resumed_at or "epoch 1") + "\\n")
        told.flush()
        for _ in loop.epochs(lambda _: keeper.save_if_due()):
            keeper.save_if_due()
    digest = hashlib.sha256()
    for weights in loop.model.state_dict().values():
        digest.update(weights.numpy().tobytes())
    history = [{**record.to_json(), "epoch_s": 0} for record in loop.history]
    (folder / "result.json").write_text(json.dumps([digest.hexdigest(), history]))


def saved_at(folder):
    path = folder / "checkpoint.pt"
    return path.stat().st_mtime_ns if path.exists() else 0


def forked(folder, kill_after=None):
    pid = os.fork()
    if pid == 0:
        train(folder)
        os._exit(0)
    if kill_after is not None:  # counted from its first checkpoint on, so that each one gets on
        before = saved_at(folder)
        while saved_at(folder) == before:
            time.sleep(0.001)
        time.sleep(kill_after)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


home = Path(sys.argv[1])
unbroken, killed = home / "unbroken", home / "killed"
unbroken.mkdir(); killed.mkdir()
started = time.monotonic()
assert forked(unbroken) == 0
whole_s = time.monotonic() - started
moments = random.Random(int(sys.argv[2]))
ends = [forked(killed, moments.uniform(0, whole_s / 40)) for _ in range(N_KILLS)]
ends.append(forked(killed))
print(json.dumps(ends))
"""


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
    killed, unbroken = (
        (tmp_path / name / "result.json").read_text() for name in ("killed", "unbroken")
    )
    assert killed == unbroken
