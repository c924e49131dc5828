"""References to MLflow runs and versions, passed between tasks. Imports nothing heavy."""

from dataclasses import dataclass

from pipeline_lib.evaluation.standing import Verdict
from pipeline_lib.home import Home, RunFolder


@dataclass(frozen=True)
class RunReference:
    """Which MLflow run, and the home it is of; `start_ms` is milliseconds since 1970."""

    run_id: str
    experiment_id: str
    run_key: str
    start_ms: int
    url: str
    home: Home

    @property
    def files(self) -> RunFolder:
        """The files of the runs of its key."""
        return self.home.run(self.run_key)


@dataclass(frozen=True)
class RegisteredVersion:
    """A version in the registry; `is_new` is False if this run key had one before."""

    name: str
    version: str
    is_new: bool
    url: str


@dataclass(frozen=True)
class Settled:
    """The outcome for a model: the verdict that was carried out, and its version if it has one."""

    verdict: Verdict
    version: RegisteredVersion | None
