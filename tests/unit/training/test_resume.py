"""A training that is stopped between any two steps goes on to the same weights, to the bit."""

import os
import resource
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline_lib.errors import NonFiniteLossError
from pipeline_lib.training.checkpoint import load_checkpoint, save_checkpoint
from pipeline_lib.training.keeper import Keeper
from pipeline_lib.training.loop import TrainingLoop
from pipeline_lib.training.records import Progress
from tests.unit.training.loops import small_loop

SCHEDULES: list[dict[str, Any]] = [
    {"kind": "none"},
    {"kind": "lambda"},
    {"kind": "step", "step_size": 2},
    {"kind": "multistep", "milestones": [1, 3]},
    {"kind": "exponential"},
    {"kind": "cosine"},
    {"kind": "plateau", "patience": 0},
    {"kind": "onecycle"},
    {"kind": "cosine_warmup", "warmup_epochs": 2},
]


class Stop(BaseException):
    """What Prefect's TerminationSignal is: no Exception."""


def _train(loop: TrainingLoop) -> dict[str, torch.Tensor]:
    for _ in loop.epochs():
        pass
    return loop.model.state_dict()


def _stopped_after(n_steps: int, folder: Path, **training: Any) -> None:
    """Train some steps, save, and leave everything else behind."""
    loop = small_loop(**training)
    steps = 0
    step = loop._stepper.step

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal steps
        if steps == n_steps:
            loop._guard.busy = False
            raise Stop
        steps += 1
        return step(*args, **kwargs)

    loop._stepper.step = counted  # type: ignore[method-assign]
    with pytest.raises(Stop), Keeper(loop, folder, key="k", every_s=1000):
        _train(loop)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s["kind"])
@pytest.mark.parametrize("n_steps", [1, 7, 10, 23])
def test_a_stopped_training_ends_with_the_weights_of_an_unbroken_one(
    tmp_path: Path, schedule: dict[str, Any], n_steps: int
) -> None:
    training = {"scheduler": schedule, "early_stopping": {"patience": 4}, "sparse_above": 10}
    unbroken = small_loop(**training)
    weights = _train(unbroken)
    _stopped_after(n_steps, tmp_path, **training)

    loop = small_loop(**training)
    keeper = Keeper(loop, tmp_path, key="k", every_s=1000)
    again = _train(loop)

    epoch, step = n_steps // 5 + 1, n_steps % 5 + 1
    assert keeper.resumed_at == f"epoch {epoch}" + (f", step {step}" if step > 1 else "")
    assert all(torch.equal(again[name], weights[name]) for name in weights)
    for ours, theirs in zip(loop.history, unbroken.history, strict=True):
        assert {**ours.to_json(), "epoch_s": 0} == {**theirs.to_json(), "epoch_s": 0}


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s["kind"])
def test_a_training_stopped_after_the_last_step_of_an_epoch_tells_the_rate_of_that_step(
    tmp_path: Path, schedule: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline_lib.training.loop._PULSE_S", 0.0)
    unbroken, broken = small_loop(scheduler=schedule), small_loop(scheduler=schedule)
    _train(unbroken)

    def stop(now: Progress) -> None:
        if (now.epoch, now.done) == (2, now.n_steps):
            raise Stop

    with pytest.raises(Stop), Keeper(broken, tmp_path, key="k", every_s=1000):
        list(broken.epochs(stop))
    loop = small_loop(scheduler=schedule)
    Keeper(loop, tmp_path, key="k", every_s=1000)
    _train(loop)

    rates = [record.learning_rate for record in loop.history]
    assert rates == [record.learning_rate for record in unbroken.history]


@pytest.mark.parametrize("training", [{"ema_decay": 0.9}, {"precision": "fp16"}], ids=str)
@pytest.mark.parametrize("n_steps", [7, 10])
def test_averaged_weights_and_the_scale_of_half_precision_go_on_where_they_were(
    tmp_path: Path, training: dict[str, Any], n_steps: int
) -> None:
    weights = _train(small_loop(**training))
    _stopped_after(n_steps, tmp_path, **training)

    loop = small_loop(**training)
    keeper = Keeper(loop, tmp_path, key="k", every_s=1000)
    again = _train(loop)

    assert keeper.resumed_at
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    first = small_loop()
    with Keeper(first, tmp_path, key="k", every_s=1000):
        weights = _train(first)

    loop = small_loop()
    keeper = Keeper(loop, tmp_path, key="k", every_s=1000)

    assert keeper.resumed_at == "the end, epoch 5"
    assert list(loop.epochs()) == []
    assert all(torch.equal(loop.model.state_dict()[name], weights[name]) for name in weights)


def test_a_checkpoint_of_another_key_is_refused_with_the_reason(tmp_path: Path) -> None:
    _stopped_after(8, tmp_path)

    loop = small_loop()
    keeper = Keeper(loop, tmp_path, key="another", every_s=1000)

    assert keeper.resumed_at == ""
    assert "belongs to other rows, codes, config, code" in keeper.notes[0]
    assert loop.epoch == 1


@pytest.mark.parametrize("where", [0.02, 0.3, 0.6, 0.97])
@pytest.mark.parametrize("how", ["flipped", "cut"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_is_used(
    tmp_path: Path, where: float, how: str
) -> None:
    save_checkpoint(tmp_path, "k", {"epoch": 1, "weights": torch.arange(5000.0)})
    save_checkpoint(tmp_path, "k", {"epoch": 2, "weights": torch.arange(5000.0)})
    path = tmp_path / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    at = int(len(content) * where)
    content[at : at + 40] = bytes(b ^ 0xFF for b in content[at : at + 40])
    path.write_bytes(content if how == "flipped" else content[:at])

    found = load_checkpoint(tmp_path, "k")

    assert found.state is not None
    if found.notes:  # else the damage hit bytes that hold nothing
        assert "checkpoint.pt is damaged" in found.notes[0]
        assert found.state["epoch"] == 1
    assert torch.equal(found.state["weights"], torch.arange(5000.0))


def test_a_record_that_the_directory_calls_a_folder_is_damage(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, "k", {"epoch": 1, "weights": torch.arange(5000.0)})
    path = tmp_path / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"data/0") - 46  # of the zip's directory; its attributes at 38
    content[entry + 38] |= 0x10
    path.write_bytes(content)

    found = load_checkpoint(tmp_path, "k")

    assert found.state is None
    assert "checkpoint.pt is damaged" in found.notes[0]


def test_a_disk_that_is_full_while_saving_stops_no_training_and_keeps_what_was_saved(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _stopped_after(8, tmp_path)
    loop = small_loop()
    keeper = Keeper(loop, tmp_path, key="k", every_s=0.0)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with keeper:
            _train(loop)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert [record.epoch for record in loop.history] == [1, 2, 3, 4, 5]
    (told,) = [record.getMessage() for record in caplog.records]
    assert told == f"no checkpoint in {tmp_path} (File too large); training goes on without"
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert Keeper(small_loop(), tmp_path, key="k", every_s=1000).resumed_at == "epoch 2, step 4"


def test_a_folder_that_takes_no_files_stops_no_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    loop = small_loop()

    with Keeper(loop, tmp_path / "file", key="k", every_s=0.0):
        _train(loop)

    assert [record.epoch for record in loop.history] == [1, 2, 3, 4, 5]
    (told,) = [record.getMessage() for record in caplog.records]
    assert "(Not a directory); training goes on without" in told


def test_a_file_system_without_hard_links_keeps_two_checkpoints_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    for epoch in (1, 2, 3):
        save_checkpoint(tmp_path, "k", {"epoch": epoch})

    files = sorted(file.name for file in tmp_path.iterdir())
    assert files == ["checkpoint.previous.pt", "checkpoint.pt"]
    found = load_checkpoint(tmp_path, "k")
    assert found.state is not None
    assert found.state["epoch"] == 3
    (tmp_path / "checkpoint.pt").unlink()
    found = load_checkpoint(tmp_path, "k")
    assert found.state is not None
    assert found.state["epoch"] == 2


@pytest.mark.parametrize("resume", [True, False])
def test_what_a_kill_in_the_middle_of_a_save_leaves_is_removed(
    tmp_path: Path, resume: bool
) -> None:
    (tmp_path / ".checkpoint.pt.0123456789ab").write_bytes(b"half of it")

    Keeper(small_loop(), tmp_path, key="k", every_s=1000, resume=resume)

    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_holds_nothing_that_would_run_code(tmp_path: Path) -> None:
    _stopped_after(8, tmp_path)

    content = torch.load(tmp_path / "checkpoint.pt", weights_only=True)

    assert set(content) == {"version", "key", "state"}


def test_what_would_run_code_is_refused_unread(tmp_path: Path) -> None:
    class Bad:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "executed"),)

    torch.save({"version": 1, "key": "k", "state": {"x": Bad()}}, tmp_path / "checkpoint.pt")

    found = load_checkpoint(tmp_path, "k")

    assert found.state is None
    assert "is damaged" in found.notes[0]
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_step_waits_for_its_end_and_the_state_is_saved(
    tmp_path: Path, number: signal.Signals
) -> None:
    weights = _train(small_loop())
    loop = small_loop()
    step, seen = loop._stepper.step, 0

    def interrupted(*args: Any, **kwargs: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == 13:
            signal.raise_signal(number)
        return step(*args, **kwargs)

    def handler(*_: Any) -> None:
        raise Stop

    before = signal.signal(number, handler)
    try:
        loop._stepper.step = interrupted  # type: ignore[method-assign]
        with pytest.raises(Stop), Keeper(loop, tmp_path, key="k", every_s=1000):
            _train(loop)
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)
    loop = small_loop()
    keeper = Keeper(loop, tmp_path, key="k", every_s=1000)

    assert keeper.resumed_at == "epoch 3, step 4"
    again = _train(loop)
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_a_signal_in_a_validation_stops_it_and_the_epoch_goes_on_there(tmp_path: Path) -> None:
    weights = _train(small_loop())
    loop = small_loop()

    def handler(*_: Any) -> None:
        raise Stop

    def interrupted(module: torch.nn.Module, *_: Any) -> None:
        if not module.training and loop.epoch == 3:
            signal.raise_signal(signal.SIGTERM)
            raise AssertionError("the validation went on")

    before = signal.signal(signal.SIGTERM, handler)
    try:
        loop.model.register_forward_hook(interrupted)
        with pytest.raises(Stop), Keeper(loop, tmp_path, key="k", every_s=1000):
            _train(loop)
    finally:
        signal.signal(signal.SIGTERM, before)
    loop = small_loop()
    keeper = Keeper(loop, tmp_path, key="k", every_s=1000)

    assert keeper.resumed_at == "epoch 3, validation"
    again = _train(loop)
    assert all(torch.equal(again[name], weights[name]) for name in weights)
    assert [record.epoch for record in loop.history] == list(range(1, loop.epoch))


def test_a_loss_that_is_lost_keeps_the_last_good_checkpoint_and_names_extreme_columns(
    tmp_path: Path,
) -> None:
    _stopped_after(8, tmp_path)
    good = (tmp_path / "checkpoint.pt").read_bytes()
    loop = small_loop()
    keeper = Keeper(loop, tmp_path, key="k", every_s=0.001)
    loop._train.x_num[:, 1] = 1e30  # type: ignore[union-attr]

    with pytest.raises(NonFiniteLossError, match="'weight' up to 1e\\+30") as raised, keeper:
        _train(loop)

    assert (raised.value.epoch, raised.value.step) == (2, 4)
    assert raised.value.extremes == (("weight", pytest.approx(1e30)),)
    assert (tmp_path / "checkpoint.pt").read_bytes() == good
