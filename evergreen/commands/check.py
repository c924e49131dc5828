"""`evergreen check`: a config, and its table against it, without training."""

import json
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from pipeline_lib.config import load_config


def check(
    config: Path,
    *,
    set_: Annotated[
        tuple[str, ...],
        Parameter(name="--set", negative=(), help="KEY=VALUE, as training.epochs=50"),
    ] = (),
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Check a config, and that its table keeps the contract in it.

    Args:
        config: the dataset's YAML file.
        set_: a value to check with; may be given several times.
        json_: print the facts as JSON.
    """
    settings = load_config(config, assignments=set_)
    from pipeline_lib.data.contract import check_rows
    from pipeline_lib.data.sources import read_source, source_name

    source = source_name(settings.data.source, root=settings.root)
    table = read_source(settings.data.source, root=settings.root)
    rows = check_rows(table, settings.columns, settings.data, settings.validation, source=source)
    facts = {
        "config": str(config),
        "name": settings.name,
        "source": source,
        "n_rows": rows.num_rows,
        "categories": len(settings.categories),
        "numbers": len(settings.columns) - len(settings.categories),
        "target": settings.data.target,
        "task": settings.data.task,
        "primary": settings.primary,
    }
    if json_:
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return 0
    print(f"{config}: fine")
    print(f"  {source}: {rows.num_rows:,} rows keep the contract")
    print(
        f"  {facts['categories']} category and {facts['numbers']} number columns → "
        f"{settings.data.target} ({settings.data.task}, judged by {settings.primary})"
    )
    return 0
