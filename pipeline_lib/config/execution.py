"""How a run is carried out: retries after errors of the network, and a time-out per stage.

These values decide whether a run comes to its end, never what it finds: they are no part of the
config's digest or of the run key, and a change of them trains nothing again.
"""

import warnings
from typing import Any

from pydantic import Field

from pipeline_lib.config.settings import Settings

MAX_WAIT_S = 3600.0
_MONTH_S = 30 * 86_400.0


def _limit(default_s: float, what: str) -> Any:
    return Field(
        default=default_s,
        gt=0,
        le=_MONTH_S,
        description=f"seconds that an attempt to {what} may take; null: no limit",
    )


with warnings.catch_warnings():
    # Two stages have the names of class methods: pydantic's `validate`, deprecated since version 2,
    # and `register` of abstract classes. No one calls either.
    warnings.filterwarnings("ignore", message=r'Field name "(validate|register)"')

    class StageTimeouts(Settings):
        """Seconds that one attempt of a stage may take; a stage that takes longer ends the run."""

        ingest: float | None = _limit(3600.0, "read the source")
        validate: float | None = _limit(3600.0, "check the rows")  # pyright: ignore[reportIncompatibleMethodOverride]
        split: float | None = _limit(3600.0, "assign rows to train, val and test")
        encode: float | None = _limit(3600.0, "encode the rows")
        train: float | None = _limit(86_400.0, "train")
        evaluate: float | None = _limit(7200.0, "score the model and its baselines")
        decide: float | None = _limit(3600.0, "score the champion and compare")
        register: float | None = _limit(3600.0, "package and register the model")  # pyright: ignore[reportIncompatibleMethodOverride]
        report: float | None = _limit(600.0, "publish the page")


class ExecutionSettings(Settings):
    """Retries after errors of the network, and time-outs."""

    retries: int = Field(
        default=3,
        ge=0,
        le=10,
        description="further attempts of a stage whose source or server failed by an error of the "
        "network (connection, status 429 or 5xx); other errors end the run at once",
    )
    backoff_s: float = Field(
        default=10.0,
        ge=0,
        le=MAX_WAIT_S,
        description="seconds before the first retry, doubled before each further one up to an "
        "hour, with up to 20 % of jitter",
    )
    timeout_s: StageTimeouts = Field(
        default=StageTimeouts(), description="seconds that one attempt of each stage may take"
    )

    def timeout_of(self, stage: str) -> float | None:
        """Return the seconds that a stage may take; None for no limit, as of other tasks."""
        limits: dict[str, float | None] = self.timeout_s.model_dump()
        return limits.get(stage)

    def waits(self) -> list[float]:
        """Return the seconds before each retry, without jitter.

        >>> ExecutionSettings().waits()
        [10.0, 20.0, 40.0]
        """
        return [min(self.backoff_s * 2**n, MAX_WAIT_S) for n in range(self.retries)]
