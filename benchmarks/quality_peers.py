"""Who takes part in the quality benchmark, and the command of each in an environment of its own."""

import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.train_peers import NotInstalledError, python_with

ROOT = Path(__file__).resolve().parents[1]
TREES = (
    "catboost==1.2.10",
    "lightgbm==4.7.0",
    "xgboost==3.2.0",
    "scikit-learn==1.9.1",
    "pandas==3.0.1",
    "numpy==2.4.6",
)
NETS = ("pytabkit[models]==1.8.0", "torch==2.13.0")
ENVIRONMENTS = {"trees": TREES, "nets": NETS}
PEERS = {
    "catboost": "trees",
    "catboost_refit": "trees",
    "lightgbm": "trees",
    "xgboost": "trees",
    "hgb": "trees",
    "linear": "trees",
    "realmlp": "nets",
    "tabm": "nets",
}
SLOW_PEERS_MOST_ROWS = {"realmlp": 8_000, "tabm": 8_000}


@dataclass(frozen=True)
class Contestant:
    """Who is measured: a command that a folder of rows is appended to.

    Attributes:
        name: in results.
        command: what to run; the folder comes after it, `after` after that.
        python_path: for imports.
        after: what `evergreen new` proposed is changed to.
        most_rows: more training rows are not measured.
    """

    name: str
    command: tuple[str, ...]
    python_path: Path
    after: tuple[str, ...] = ()
    most_rows: int = sys.maxsize


def peer(name: str, home: Path) -> Contestant:
    """Return a rival, its environment made if it is not there.

    Raises:
        NotInstalledError: pip could not fill the environment.
    """
    kind = PEERS[name]
    python = python_with(ENVIRONMENTS[kind], home / kind)
    command = (str(python), "-m", f"benchmarks.peers.quality_{kind}", name)
    most = SLOW_PEERS_MOST_ROWS.get(name, sys.maxsize)
    return Contestant(name, command, ROOT, most_rows=most)


def ours(text: str) -> Contestant:
    """Return a checkout of Evergreen as a contestant.

    Args:
        text: `NAME=CHECKOUT`, or `NAME=CHECKOUT:KEY=VALUE;KEY=VALUE` with assignments as the
            command line's `--set` has them.

    Raises:
        ValueError: it has another form, or there is no environment in the checkout.
    """
    name, _, rest = text.partition("=")
    place, _, assigned = rest.partition(":")
    checkout = Path(place).absolute()
    python = checkout / ".venv" / "bin" / "python"
    if not name or name in PEERS or not python.exists():
        raise ValueError(f"{text!r}: NAME=CHECKOUT, a checkout with an environment at .venv")
    command = (str(python), "-P", str(ROOT / "benchmarks" / "quality_ours.py"))
    return Contestant(name, command, checkout, tuple(assigned.split(";")) if assigned else ())


__all__ = ["PEERS", "ROOT", "Contestant", "NotInstalledError", "ours", "peer"]
