"""What `training.budget_s` buys: epochs, rounds, passes and members, from speeds that are measured.

It is planned once, before the training, and kept beside the checkpoints: a run that goes on, or is
repeated, trains by the same plan. Nothing looks at a clock afterwards.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

from pydantic import ValidationError

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.models import (
    AutoSettings,
    BlendSettings,
    BoostingSettings,
    CatBoostSettings,
    KindSettings,
    LinearSettings,
    MemberSettings,
    TabularMLPSettings,
)
from pipeline_lib.config.settings import Settings
from pipeline_lib.config.training import TrainingSettings
from pipeline_lib.errors import StorageError, TrainingError
from pipeline_lib.fitting.by_epochs import NetworkTraining
from pipeline_lib.fitting.in_one_call import EstimatorTraining
from pipeline_lib.fitting.training import Training, TrainingInput
from pipeline_lib.models import EstimatorKind, ModelKind, NetworkKind, member_kind, model_kind
from pipeline_lib.models.blend import label_of
from pipeline_lib.storage.digests import digest_json
from pipeline_lib.storage.json_files import REFUSALS, Json, write_json
from pipeline_lib.training.batches import batch_bounds
from pipeline_lib.training.compiling import load_compiler_unused
from pipeline_lib.training.rows import Rows, TensorSplit

# Rows that speeds are measured on, at most.
_PROBE_ROWS = 131_072
# Speeds are measured on longer and longer trainings, until one takes its part of this share.
_PROBE_SHARE, _LEAST_PROBE_S, _MOST_PROBE_S = 0.06, 0.03, 1.0
# Most linear fits end before; more are not paid for.
_USUAL_PASSES = 200
# Of the seconds that are left; the rest is for the blend's weights, and for what varies.
_PLANNED = 0.95


class _Kept(Settings):
    """The file of a plan; `asked` is the digest of what it was made for."""

    version: Literal[1] = 1
    asked: str
    model: KindSettings
    training: TrainingSettings
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What is trained within a budget, and what is said of it."""

    model: KindSettings
    training: TrainingSettings
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Cost:
    """What a member costs in CPU seconds: its beginning and end, and each unit of its length.

    `most` is the length that its settings ask for; below `least` it is not worth training.
    `weight` is its share where seconds are short.
    """

    fixed_s: float
    unit_s: float
    one: str
    units: str
    most: int
    least: int
    weight: float

    def length(self, seconds: float) -> int:
        """Return the length that so many seconds pay, at most `most`; below 1 if none."""
        return min(self.most, int((seconds - self.fixed_s) // self.unit_s))

    def seconds(self, length: int) -> float:
        """Return what a length costs."""
        return self.fixed_s + self.unit_s * length


def within_budget(
    given: TrainingInput, kind: ModelKind, *, file: Path | None = None
) -> tuple[PipelineConfig, ModelKind, tuple[str, ...]]:
    """Return the config and the kind that keep to `training.budget_s`, and what is said of it.

    Args:
        given: settings and rows; `training.budget_s` is set.
        kind: that is asked for.
        file: keeps the plan; one that is there already, and was made for the same, is taken.

    Raises:
        TrainingError: the budget is too small for the shortest training there is, or the kind is
            none whose length is known.
        StorageError: the file cannot be written.
    """
    config, model = given.config, given.config.model
    if isinstance(model, AutoSettings) or kind.settings != model:
        raise TrainingError(
            f"training.budget_s: how long a model of kind {kind.name} takes is not known; leave it "
            "out"
        )
    plan = _plan(given, model, file)
    changed = config.model_copy(update={"model": plan.model, "training": plan.training})
    return changed, model_kind(plan.model), plan.lines


def _plan(given: TrainingInput, model: KindSettings, file: Path | None) -> Plan:
    asked = digest_json([model.model_dump(mode="json"), given.training.model_dump(mode="json")])
    if file is not None and (kept := _read(file, asked)) is not None:
        return kept
    plan = _planned(given, model)
    if file is not None:
        made = _Kept(asked=asked, model=plan.model, training=plan.training, lines=plan.lines)
        try:
            write_json(file, cast("Json", made.model_dump(mode="json")))
        except OSError as error:
            raise StorageError(f"cannot write {file}: {error.strerror or error}") from error
    return plan


def _read(file: Path, asked: str) -> Plan | None:
    """Return the plan that a file holds, if it is whole and was made for the same."""
    try:
        kept = _Kept.model_validate(json.loads(file.read_text("utf-8")))
    except (OSError, *REFUSALS):
        return None
    return Plan(kept.model, kept.training, kept.lines) if kept.asked == asked else None


def _planned(given: TrainingInput, model: KindSettings) -> Plan:
    load_compiler_unused()  # a second of imports, which is none of the fit
    budget_s, started = given.training.budget_s, time.process_time()
    assert budget_s is not None
    members, lines = list(_members(model)), list[str]()
    costs = [_measured(given, member) for member in members]
    while True:
        spent_s = time.process_time() - started
        lengths = shared_out(costs, (budget_s - spent_s) * _PLANNED)
        dearest = max(range(len(costs)), key=lambda i: costs[i].seconds(costs[i].least))
        member = members[dearest]
        too_few = lengths[dearest] < costs[dearest].most / 2
        if too_few and isinstance(member, TabularMLPSettings) and member.n_shared > 1:
            members[dearest] = member.model_copy(update={"n_shared": member.n_shared // 2})
            costs[dearest] = _measured(given, members[dearest])
        elif all(n >= c.least for n, c in zip(lengths, costs, strict=True)) or len(members) == 1:
            break
        else:
            needed = costs[dearest].seconds(costs[dearest].least)
            lines.append(f"no {label_of(member)}, for which {needed:.2g} CPU s are the least")
            del members[dearest], costs[dearest]
    if lengths[0] < 1:
        needed = costs[0].seconds(1) / _PLANNED + spent_s
        raise TrainingError(
            f"training.budget_s: {budget_s:g} CPU seconds are too few for one {costs[0].one} of "
            f"{label_of(members[0])} on {given.train.n_rows:,} rows, which takes about "
            f"{needed:.2g}. Set more, or choose a smaller model"
        )
    lines += [
        f"{label_of(member)}: {length:,} {cost.units} at most"
        + (f" instead of {cost.most:,}" if length < cost.most else "")
        + _shared(member)
        for member, cost, length in zip(members, costs, lengths, strict=True)
    ]
    lines.append(f"by speeds measured on this machine in {spent_s:.2g} CPU s")
    of_networks = [n for n, cost in zip(lengths, costs, strict=True) if cost.units == "epochs"]
    trained = [_of_length(each, n) for each, n in zip(members, lengths, strict=True)]
    whole = model.model_copy(update={"members": tuple(trained)})
    is_blend = isinstance(model, BlendSettings)
    return Plan(
        whole if is_blend else trained[0], _training(given.training, of_networks), tuple(lines)
    )


def _members(model: KindSettings) -> tuple[MemberSettings, ...]:
    return model.members if isinstance(model, BlendSettings) else (model,)


def _shared(member: MemberSettings) -> str:
    is_network = isinstance(member, TabularMLPSettings)
    return f", {member.n_shared} members that share weights" if is_network else ""


def shared_out(costs: Sequence[Cost], seconds: float) -> list[int]:
    """Return the length of each member: the least that it needs, and a share of what is left.

    What one of them cannot use is the others'. If seconds are too few, all are below their least.
    """
    needed = [cost.seconds(cost.least) for cost in costs]
    left = seconds - sum(needed)
    if left < 0:
        return [min(c.least - 1, c.length(seconds / len(costs))) for c in costs]
    lengths, open_ = [0] * len(costs), list(range(len(costs)))
    while open_:
        share = left / sum(costs[i].weight for i in open_)
        paid = {i: costs[i].length(needed[i] + share * costs[i].weight) for i in open_}
        full = [i for i in open_ if paid[i] >= costs[i].most]
        for i in full or open_:
            lengths[i] = max(costs[i].least, paid[i])
            left -= costs[i].seconds(lengths[i]) - needed[i]
        open_ = [i for i in open_ if i not in full] if full else []
    return lengths


def _of_length(member: MemberSettings, length: int) -> MemberSettings:
    """Return the settings of a member with a length; that of a network is its training's."""
    match member:
        case BoostingSettings() | CatBoostSettings():
            return member.model_copy(update={"max_rounds": length})
        case LinearSettings():
            return member.model_copy(update={"max_passes": length})
        case _:
            return member


def _training(training: TrainingSettings, epochs: Sequence[int]) -> TrainingSettings:
    """Return the training with as many epochs as all its networks can have."""
    if not epochs:
        return training
    values = {name: getattr(training, name) for name in training.model_fields_set}
    values["epochs"] = min(epochs)
    if training.start_from == "champion":
        values["warm_epochs"] = min(*epochs, training.n_warm_epochs)
    try:
        return TrainingSettings.model_validate(values)
    except ValidationError as error:
        said = str(error.errors(include_url=False)[0]["msg"])
        raise TrainingError(
            f"training.budget_s: {training.budget_s:g} CPU seconds pay {min(epochs)} epochs, and "
            f"`training` does not go with that: {said}"
        ) from None


def _measured(given: TrainingInput, member: MemberSettings) -> Cost:
    """Return what a member costs, by short trainings on the first rows."""
    kind = member_kind(member)
    if isinstance(kind, NetworkKind):
        return _of_network(given, kind)
    return _of_estimator(given, member)


def _of_estimator(given: TrainingInput, member: MemberSettings) -> Cost:
    part = _part(given, _PROBE_ROWS)
    factor = given.train.n_rows / part.train.n_rows

    def fitted(length: int) -> float:
        kind = member_kind(_of_length(member, length))
        assert isinstance(kind, EstimatorKind)
        return _cpu_s(lambda: _run(EstimatorTraining(part, kind)))

    match member:
        case BoostingSettings() | CatBoostSettings():
            units, most, least, weight = ("round", "rounds"), member.max_rounds, 50, 1.0
        case LinearSettings():
            most = min(member.max_passes, _USUAL_PASSES)
            units, least, weight = ("pass", "passes"), 20, 0.3
        case _:
            raise AssertionError(f"{member.kind} learns by epochs")
    fixed_s, unit_s = _line_through(fitted, 4, limit_s=_limit(given))
    return Cost(fixed_s * factor, unit_s * factor, *units, most, min(least, most), weight)


def _of_network(given: TrainingInput, kind: NetworkKind) -> Cost:
    training = given.training
    batch = 2 if training.batch_size == "full" else training.batch_size
    n_rows = given.train.n_rows
    n_steps = 1 if training.batch_size == "full" else len(batch_bounds(n_rows, batch))

    def trained(steps: int) -> float:
        rows = n_rows if training.batch_size == "full" else min(n_rows, steps * batch)
        part = _part(given, rows)
        once = {"epochs": 1, "start_from": "scratch", "warm_epochs": None, "n_members": 1}
        settings = training.model_copy(update={**once, "early_stopping": None})
        part = replace(part, config=part.config.model_copy(update={"training": settings}))
        loop = NetworkTraining(part, kind)
        return _cpu_s(lambda: _run(loop))

    began_s, at_hand = _cpu_s(lambda: NetworkTraining(given, kind)), _first(given.train, n_rows)
    most = min(n_steps, max(1, at_hand.n_rows // batch))
    if most <= 4:
        trained(most)
        epoch_s = trained(most) * n_steps / most
    else:
        fixed_s, step_s = _line_through(trained, 4, limit_s=_limit(given), most=most)
        epoch_s = fixed_s + step_s * n_steps
    is_warm = training.start_from == "champion"
    most = training.n_warm_epochs if is_warm else training.epochs
    least = min(most, max(1, -(-200 // n_steps)))
    n = training.n_members
    return Cost(began_s * n, epoch_s * n, "epoch", "epochs", most, least, 2.0)


def _line_through(
    cost_of: Callable[[int], float], length: int, *, limit_s: float, most: int = 2**20
) -> tuple[float, float]:
    """Return the seconds that any length takes, and those of each unit more."""
    # The first call does also what is done once in a process.
    if cost_of(1) >= limit_s and (alone := cost_of(1)) >= limit_s:
        return 0.0, alone
    short, first = length, cost_of(length)
    while True:
        long = min(most, 3 * short)
        second = cost_of(long)
        if second >= limit_s or long == most:
            break
        short, first = long, second
    unit_s = max(second - first, 1e-9) / max(1, long - short)
    return max(0.0, first - short * unit_s), unit_s


def _limit(given: TrainingInput) -> float:
    model, budget_s = given.config.model, given.training.budget_s or 0.0
    n_members = len(model.members) if isinstance(model, BlendSettings) else 1
    return min(_MOST_PROBE_S, max(_LEAST_PROBE_S, _PROBE_SHARE * budget_s / n_members))


def _part(given: TrainingInput, n_rows: int) -> TrainingInput:
    """Return the first rows of both splits, in the same proportion."""
    if given.train.n_rows <= n_rows:
        return given
    n_val = max(2, round(n_rows * given.val.n_rows / given.train.n_rows))
    return replace(given, train=_first(given.train, n_rows), val=_first(given.val, n_val))


def _first(rows: Rows, n_rows: int) -> TensorSplit:
    return next(iter(rows.in_order(min(n_rows, rows.n_rows))))


def _run(training: Training) -> None:
    for _ in training.epochs():
        pass


def _cpu_s(run: Callable[[], object]) -> float:
    """Return the CPU seconds of a call, those of all threads."""
    started = time.process_time()
    run()
    return time.process_time() - started
