"""Names of columns: few enough, each there once, and different in more than blanks and case."""

from collections.abc import Sequence

from pipeline_lib.config.columns import MAX_COLUMNS
from pipeline_lib.errors import SourceError
from pipeline_lib.wording import examples, repeated

_MAX_LENGTH = 1000  # characters of a name
_WAY_OUT = "give every column a name of its own in the source"


def check_names(names: Sequence[str], where: str) -> None:
    """Refuse names that are blank or alike, too long or too many, and none.

    Args:
        names: of the columns, in their order.
        where: what messages call the file or query.

    Raises:
        SourceError: naming the columns.
    """
    if not names:
        raise SourceError(f"{where} has no columns")
    if blank := [position for position, name in enumerate(names, start=1) if not name.strip()]:
        raise SourceError(f"{where}: columns without a name at {examples(blank)}; {_WAY_OUT}")
    if len(names) > MAX_COLUMNS:
        raise SourceError(
            f"{where} has {len(names):,} columns; a table may have {MAX_COLUMNS:,}. Leave those "
            "out that no config names, or store wide parts as rows"
        )
    if long := [name for name in names if len(name) > _MAX_LENGTH]:
        raise SourceError(
            f"{where}: column names of more than {_MAX_LENGTH:,} characters: {examples(long)}; "
            f"{_WAY_OUT}"
        )
    if double := sorted(repeated(names)):
        raise SourceError(f"{where}: column names that stand twice: {examples(double)}; {_WAY_OUT}")
    by_folded: dict[str, list[str]] = {}
    for name in names:
        by_folded.setdefault(name.strip().casefold(), []).append(name)
    if alike := [name for group in by_folded.values() if len(group) > 1 for name in group]:
        raise SourceError(
            f"{where}: column names that differ by blanks or case alone: {examples(alike)}; "
            f"{_WAY_OUT}"
        )
