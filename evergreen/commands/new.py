"""`evergreen new`: a proposed config for a table, with the evidence for each line."""

import re
import unicodedata
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from evergreen.tables import print_json, print_table, say
from pipeline_lib.config import PipelineConfig, load_config
from pipeline_lib.config.json_schema import SCHEMA_FILE, schema_text
from pipeline_lib.config.sources import Source
from pipeline_lib.errors import StorageError, UsageError
from pipeline_lib.home import NAME_PATTERN, project_of, project_root
from pipeline_lib.permissions import make_folders
from pipeline_lib.storage.json_files import Json
from pipeline_lib.storage.replacing import replacing

if TYPE_CHECKING:
    import pyarrow as pa

    from pipeline_lib.proposal.propose import Proposal

_MAX_ROWS = 2_000_000


def new(
    table: str,
    *,
    target: str,
    name: str | None = None,
    query: str | None = None,
    out: Path | None = None,
    force: Annotated[bool, Parameter(negative=())] = False,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Profile a table and write a config for it: column kinds, leaks, keys, and the reasons.

    Args:
        table: a CSV or Parquet file, a glob, a path with {YYYY}, {MM} and {DD}, or a database's
            url.
        target: the column to predict.
        name: of the dataset; default: the name of the file.
        query: SQL query for the rows of a database.
        out: the config to write; default: configs/NAME.yaml at the project root.
        force: replace an existing config.
        json_: print what was found as JSON.
    """
    name = _name(table, name)
    out = out or project_root() / "configs" / f"{name}.yaml"
    if out.exists() and not force:
        raise UsageError(f"{shortest(out)} exists already; replace it with --force, or give --out")
    from pipeline_lib.proposal.config_yaml import config_text
    from pipeline_lib.proposal.propose import propose
    from pipeline_lib.proposal.sniff import guess_source

    root = project_root(out.parent.resolve())
    guessed = guess_source(table, root=root, project=project_of(out), query=query)
    rows = _first_rows(guessed.source, root)
    proposal = propose(rows, guessed.source, target, name=name, notes=guessed.notes)
    config, said = _written(out, config_text(proposal))
    _write_schema(out.parent)
    if json_:
        print_json(_facts(proposal, config, out, said))
    else:
        _show(proposal, out, said)
    return 0


def shortest(path: Path) -> Path:
    """Return a path as a person in this folder would type it."""
    path, here = path.resolve(), Path.cwd()
    is_below = here != Path(here.anchor) and path.is_relative_to(here)  # below `/` lies everything
    return path.relative_to(here) if is_below else path


def _name(table: str, given: str | None) -> str:
    """Return the name given, or make one of the file's: `Adult Income.csv` is `adult_income`."""
    if given is not None:
        if not re.fullmatch(NAME_PATTERN, given):
            raise UsageError(
                f"{given[:80]!r} is not a name for a dataset: lower case, digits, _ and -"
            )
        return given
    path = Path(re.sub(r"\{[A-Z]+\}|[*?]|\[.*?\]", " ", table.partition("?")[0]))
    for words in (path.name.partition(".")[0], path.parent.name):
        plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode().lower()
        slug = re.sub(r"[^a-z0-9]+", "_", plain).lstrip("_0123456789")[:40].rstrip("_")
        if slug:
            return slug
    raise UsageError(f"{table}: no name of a dataset can be made of this; give one with --name")


def _first_rows(source: Source, root: Path) -> "pa.Table":
    """Return the rows to look at: all of them, or the first two million."""
    from pipeline_lib.data.sources.open import open_source

    today = datetime.now(UTC).date()
    return open_source(source, root=root, run_date=today).head(_MAX_ROWS)


def _written(out: Path, text: str) -> tuple[PipelineConfig, str | None]:
    """Write a config once it is known to load, and the table to keep the contract in it.

    Returns:
        The config, and what `validation.duplicates` stops, if it does.
    """
    try:
        make_folders(out.parent, mode=0o775)
        with replacing(out, mode=0o664) as scratch:  # a part of the project, not of its state
            scratch.write_text(text, encoding="utf-8")
            return _proven(scratch)
    except OSError as error:
        raise StorageError(f"cannot write {out}: {error.strerror}; give another --out") from error


def _write_schema(folder: Path) -> None:
    """Write the schema that the config's first line names, as this release has it."""
    path, text = folder / SCHEMA_FILE, schema_text()
    try:
        if not path.is_file() or path.read_text("utf-8") != text:
            with replacing(path, mode=0o664) as scratch:
                scratch.write_text(text, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StorageError(f"cannot write {path}: {error}") from error


def _proven(path: Path) -> tuple[PipelineConfig, str | None]:
    from pipeline_lib.data.contract.checker import ContractChecker
    from pipeline_lib.data.sources.open import source_name

    config = load_config(path)
    data = config.data
    rows = _first_rows(data.source, config.root)
    name = source_name(data.source, root=config.root)
    # A table that was loaded twice has a config all the same: the table needs the repair.
    validation = config.validation.model_copy(update={"duplicates": "warn"})
    checker = ContractChecker(config.columns, data, validation, source=name, root=config.root)
    checker.check(rows)
    repeats = checker.finish(lambda: [rows]).repeats
    return config, repeats.copies_sentence() if repeats and repeats.is_copied else None


def _show(proposal: "Proposal", out: Path, copied: str | None) -> None:
    data, features = proposal.data, proposal.features
    say(f"looked at {proposal.n_rows:,} rows of {len(proposal.columns) + 1} columns\n")
    print_table((f"predict {data.target}: {data.task}, {proposal.target.reason}",), ())
    taken = [c for c in proposal.columns if c.is_feature]
    say(f"\nfrom {len(taken)} {'column' if len(taken) == 1 else 'columns'}")
    print_table(
        ("  column", "kind", "what was seen"),
        [(f"  {c.name}", features[c.name].kind, c.reason) for c in taken],
    )
    if proposal.left_out:
        say(f"\nleft out {len(proposal.left_out)}")
        lost = [(f"  {c.name}", c.reason) for c in proposal.left_out]
        print_table(("  column", "why"), lost)
    notes = _notes(proposal, copied)
    if notes:
        say()
        print_table(("to look at",), [(f"  {note}",) for note in notes])
    path = shortest(out)
    proven = (
        "the table matches it" if copied is None else "the table matches it once it is loaded once"
    )
    say(f"\n{path} is written: it loads, and {proven}. Next")
    say(f"  evergreen check {path}")
    say(f"  evergreen run {path}")


def _notes(proposal: "Proposal", copied: str | None) -> list[str]:
    if copied is None:
        return [*proposal.notes]
    return [f"{copied}: `validation.duplicates` stops the run", *proposal.notes]


def _facts(
    proposal: "Proposal", config: PipelineConfig, out: Path, copied: str | None
) -> dict[str, Json]:
    return {
        "config": str(shortest(out)),
        "name": proposal.name,
        "n_rows": proposal.n_rows,
        "target": proposal.data.target,
        "task": proposal.data.task,
        "classes": proposal.data.classes,
        "key": proposal.data.key,
        "time": proposal.data.time,
        "source": config.data.source.model_dump(mode="json"),
        "columns": {
            c.name: {
                "kind": None if c.column is None else c.column.kind,
                "part": c.part,
                "reason": c.reason,
            }
            for c in proposal.columns
        },
        "leaks": [
            {
                "columns": leak.columns,
                "kind": leak.kind,
                "score": round(leak.score, 6),
                "reason": leak.reason,
            }
            for leak in proposal.leaks
        ],
        "notes": _notes(proposal, copied),
    }
