"""The names of the baselines. What each is, is decided in `pipeline_lib.evaluation.baselines`."""

from typing import Annotated, Literal

from pydantic import BeforeValidator

Baseline = Literal["constant", "linear", "boosting"]
DEFAULT_BASELINES: tuple[Baseline, ...] = ("constant", "linear", "boosting")
# What a config that set none had in its digest before there were three.
BASELINES_OF_EARLIER_DIGESTS = ("constant", "gradient_boosting")


def _named_now(value: object) -> object:
    """Return a baseline's name; `boosting` had another one in earlier releases."""
    return "boosting" if value == "gradient_boosting" else value


ReadBaseline = Annotated[Baseline, BeforeValidator(_named_now)]
