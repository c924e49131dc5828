"""Results of the quality benchmark: a line of JSON for each fit, appended as it comes."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One fit: a contestant on a split of a table."""

    table: str
    split: int
    max_rows: int
    contestant: str


@dataclass(frozen=True)
class Result:
    """What a fit gave; `failure` says why it gave nothing.

    Attributes:
        digest: of the rows, the same for all contestants.
        n_rows: of train, val and test.
        metric: "log_loss" or "rmse".
        loss: of the test rows.
        cpu_s: of the fit alone.
        peak_mb: most memory of the process.
        rounds: of boosting, where that is known.
        versions: of the libraries, or the commit.
        changed: what Evergreen's proposed config was changed to.
    """

    table: str
    split: int
    max_rows: int
    contestant: str
    digest: str
    n_rows: dict[str, int]
    metric: str
    loss: float | None = None
    cpu_s: float | None = None
    wall_s: float | None = None
    peak_mb: float | None = None
    rounds: int | None = None
    versions: dict[str, str] = field(default_factory=dict)
    changed: str = ""
    failure: str = ""

    @property
    def job(self) -> Job:
        """The fit it is of."""
        return Job(self.table, self.split, self.max_rows, self.contestant)


def read_results(path: Path) -> list[Result]:
    """Return the results of a file, of each fit the last; a line that a kill cut off is skipped."""
    found: dict[Job, Result] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            result = Result(**json.loads(line))
        except (json.JSONDecodeError, TypeError):
            continue
        found[result.job] = result
    return list(found.values())


def append_result(path: Path, result: Result) -> None:
    """Append a result, on a line of its own even if a kill cut off the one before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_bytes() if path.exists() else b""
    with path.open("a", encoding="utf-8") as file:
        file.write("\n" if before and not before.endswith(b"\n") else "")
        file.write(json.dumps(asdict(result)) + "\n")
