"""`evergreen check`: a config, and its table against it, without training."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from evergreen.config_argument import find_config
from evergreen.tables import print_json, say
from pipeline_lib.config import load_config
from pipeline_lib.errors import rows_that


def check(
    config: Path,
    *,
    set_: Annotated[
        tuple[str, ...],
        Parameter(name="--set", negative=(), help="KEY=VALUE, as training.epochs=50"),
    ] = (),
    run_date: date | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Check a config, and that its table keeps the contract in it.

    Args:
        config: the dataset's YAML file, or the name of one in configs/.
        set_: a value to check with; may be given several times.
        run_date: the night's date, as 2026-11-24; today (UTC) without it.
        json_: print the facts as JSON.
    """
    config = find_config(config)
    settings = load_config(config, assignments=set_)
    from pipeline_lib.data.contract.check_snapshot import contract_checker, named_columns
    from pipeline_lib.data.snapshots.snapshot import missing_days
    from pipeline_lib.data.sources.open import open_source
    from pipeline_lib.monitoring.history import read_nights
    from pipeline_lib.monitoring.volume import Volume

    today = run_date or datetime.now(UTC).date()
    source, needed = settings.data.source, named_columns(settings)
    stream = open_source(source, root=settings.root, run_date=today, needed=needed)
    checker = contract_checker(settings, source=stream.source)
    for batch in stream.batches():
        checker.check(batch)
    report = checker.finish(stream.batches)
    volume = Volume(settings, read_nights(settings.name), run_date=today)
    growth = volume.hold(report.n_used, source=stream.source)
    facts = {
        "config": str(config),
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
    }
    if json_:
        print_json(facts)
        return 0
    say(f"{config}: fine")
    say(f"  {stream.source}: {rows_that(report.n_used, 'keep the contract')}")
    if report.n_quarantined:
        say(f"  {rows_that(report.n_quarantined)} would go into quarantine")
    for line in (*missing_days(stream), *report.lines(), *([growth] if growth else [])):
        say(f"  {line}")
    say(
        f"  {facts['categories']} category and {facts['numbers']} number columns → "
        f"{settings.data.target} ({settings.data.task}, judged by {settings.primary})"
    )
    return 0
