"""One command for all configs of a project: each has its turn, whatever came of the others."""

import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evergreen.failures import describe, wants_traceback
from evergreen.tables import print_json, print_table, say
from pipeline_lib.errors import DataError, EvergreenError
from pipeline_lib.interruption import heard

# A run that failed needs a person most; then wrong input, then data that broke its contract.
_WORST_FIRST = (1, 2, 3)
_MAX_REASON = 100


@dataclass(frozen=True)
class Ended:
    """How a config's turn ended: `decision` in a word, and why; `facts` are what JSON shows."""

    config: Path
    exit_code: int
    decision: str
    reason: str
    facts: Mapping[str, object]

    def to_json(self) -> dict[str, object]:
        """Return all of it under plain names."""
        about = {"config": str(self.config), "exit_code": self.exit_code}
        return {**about, "decision": self.decision, "reason": self.reason, **self.facts}


def turn(config: Path, do: Callable[[Path], Ended]) -> Ended:
    """Return how a config's turn ended; an error is printed, and ends this turn only.

    Raises:
        KeyboardInterrupt: a signal asks for the end of all.
    """
    try:
        return do(config)
    except (Exception, SystemExit) as error:  # a library, or a function of a rule, may exit
        if heard() is not None:  # what a signal has disturbed is no failure
            raise
        if isinstance(error, EvergreenError):
            text, code = str(error), error.exit_code
        else:
            if wants_traceback():
                traceback.print_exception(error)
            text, code = describe(error), 1
        place = "" if text.startswith(str(config)) else f"{config}: "
        say(f"error: {place}{text}", to=sys.stderr)
        decision = "stopped" if isinstance(error, DataError) else "failed"
        reason = _in_a_line(text)
        return Ended(config, code, decision, reason, {"detail": text})


def _in_a_line(text: str) -> str:
    """Return the first line of a message, with the next one where it only announces that."""
    first, *others = text.splitlines() or [""]
    return f"{first} {others[0].strip()}" if first.endswith(":") and others else first


def worst_of(codes: Iterable[int]) -> int:
    """Return the exit code of the worst: 1 failed, then 2 wrong input, then 3 broken contract.

    >>> worst_of([0, 3, 2]), worst_of([0, 0])
    (2, 0)
    """
    found = set(codes)
    return next((code for code in _WORST_FIRST if code in found), max(found, default=0))


def conclude(ended: Sequence[Ended], *, json_: bool) -> int:
    """Print all turns, as a table or as JSON; return the exit code of the worst."""
    if json_:
        print_json([each.to_json() for each in ended])
    else:
        say()
        print_table(
            ("config", "result", "why"),
            [(str(e.config), e.decision, e.reason[:_MAX_REASON]) for e in ended],
        )
    return worst_of(each.exit_code for each in ended)
