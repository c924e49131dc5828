"""`evergreen check`: configs, and whether their tables keep the contract; without training."""

from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from evergreen.config_argument import chosen_configs
from evergreen.every_config import Ended, conclude, turn
from evergreen.tables import print_json, print_table, say
from pipeline_lib.config import PipelineConfig, load_config
from pipeline_lib.config.automatic import Choice, TableShape, choose
from pipeline_lib.config.layers import DEFAULTS
from pipeline_lib.config.load import flat_settings
from pipeline_lib.config.models import AutoSettings
from pipeline_lib.home import find_home
from pipeline_lib.wording import rows_that


def check(
    config: Path | None = None,
    *,
    all_: Annotated[bool, Parameter(name="--all", negative=())] = False,
    set_: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set",
            negative=(),
            help="KEY=VALUE, such as training.epochs=50; may be given several times",
        ),
    ] = (),
    run_date: date | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Check a config, and that its table keeps the contract.

    Args:
        config: the dataset's YAML file, or the name of one in configs/.
        all_: check every config in configs/ of the project.
        set_: a value to check with; may be given several times.
        run_date: the date of the run, such as 2026-11-24; default: today (UTC).
        json_: print the facts as JSON.
    """
    configs = chosen_configs(config, every=all_)
    today = run_date or datetime.now(UTC).date()
    look = partial(_checked, assignments=set_, today=today, quiet=json_)
    if all_:
        return conclude([turn(each, look) for each in configs], json_=json_)
    ended = look(configs[0])
    if json_:
        print_json(ended.facts)
    return 0


def _checked(path: Path, *, assignments: tuple[str, ...], today: date, quiet: bool) -> Ended:
    """Check one config and its table; say what was found unless `quiet`."""
    settings = load_config(path, assignments=assignments)
    from pipeline_lib.data.contract.check_snapshot import contract_checker, named_columns
    from pipeline_lib.data.snapshots.snapshot import missing_days
    from pipeline_lib.data.sources.open import open_source
    from pipeline_lib.monitoring.expected_shape import expected_shape
    from pipeline_lib.monitoring.history import read_nights
    from pipeline_lib.monitoring.profile import Profiler
    from pipeline_lib.monitoring.volume import Volume

    home = find_home(settings.project)
    source, needed = settings.data.source, named_columns(settings)
    stream = open_source(source, root=settings.root, run_date=today, needed=needed, home=home)
    checker = contract_checker(settings, source=stream.source)
    auto = settings.model if isinstance(settings.model, AutoSettings) else None
    profiler = Profiler(
        settings.columns if auto else {}, target=settings.data.target, task=settings.data.task
    )
    for batch in stream.batches():
        checked = checker.check(batch)
        if auto:
            profiler.add(checked.typed)
    report = checker.finish(stream.batches)
    volume = Volume(settings, read_nights(home.dataset(settings.name)), run_date=today)
    growth = volume.hold(report.n_used, source=stream.source)
    inherited = _inherited(settings)
    choice = shape = None
    if auto:
        shape = expected_shape(settings, profiler.finish(), report.n_used)
        choice = choose(auto, settings.training, shape)
    facts = {
        "config": str(path),
        "name": settings.name,
        **report.to_json(),
        "n_dropped": len(report.dropped_rows),
        "repeats": report.repeats.to_json() if report.repeats else None,
        "volume": growth,
        "missing_days": [day.isoformat() for day in stream.missing_days],
        "categories": len(settings.categories),
        "numbers": len(settings.columns) - len(settings.categories),
        "target": settings.data.target,
        "task": settings.data.task,
        "primary": settings.primary,
        "defaults": inherited,
        "model": settings.model.kind,
        "chosen": choice and {reason.part: reason.why for reason in choice.reasons},
    }
    kept = f"{stream.source}: {rows_that(report.n_used, 'keep the contract')}"
    if not quiet:
        say(f"{path}: fine")
        say(f"  {kept}")
        if report.n_quarantined:
            say(f"  {rows_that(report.n_quarantined)} would be quarantined")
        for line in (*missing_days(stream), *report.lines(), *([growth] if growth else [])):
            say(f"  {line}")
        say(
            f"  {facts['categories']} category and {facts['numbers']} number columns → "
            f"{settings.data.target} ({settings.data.task}, judged by {settings.primary})"
        )
        if choice and shape:
            _say_choice(choice, shape)
        if inherited:
            say(f"  set by {DEFAULTS}")
            print_table(("    key", "value"), [(f"    {k}", v) for k, v in inherited.items()])
    return Ended(path, 0, "fine", kept, facts)


def _say_choice(choice: Choice, shape: TableShape) -> None:
    say(f"  model: auto chooses a blend, for about {rows_that(shape.n_train)} to train on")
    print_table(("    what", "why"), [(f"    {r.part}", r.why) for r in choice.reasons])
    if choice.training.budget_s is not None:
        said = "decides how long each of them may learn, once a run has measured their speed"
        say(f"    training.budget_s, {choice.training.budget_s:g} CPU seconds, {said}")


def _inherited(config: PipelineConfig) -> dict[str, str]:
    """Return the values that the project's shared settings give, by dotted key."""
    values = flat_settings(config)
    return {key: values[key] for keys in config.inherited if (key := ".".join(keys)) in values}
