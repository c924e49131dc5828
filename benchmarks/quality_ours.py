"""Evergreen on the rows of the quality benchmark: `evergreen new`, `fit`, `predict`.

Run as a script with another checkout first on the path, so that any release of the product can take
part: it imports nothing of `benchmarks`. Of what `evergreen new` proposes for the raw table only
the split is replaced, and what the command line assigns.
"""

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc

SPLIT = "split_"


def main() -> None:
    """Fit on the folder that the command line names, with the assignments that follow it."""
    folder, assignments = Path(sys.argv[1]).absolute(), sys.argv[2:]
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    project = folder / "project"
    (project / "configs").mkdir(parents=True)
    (project / "prefect.yaml").touch()
    os.chdir(project)
    path = _propose(folder / "rows.csv", about["target"])

    from pipeline_lib import fit, load_config
    from pipeline_lib.data.sources.open import open_source

    by_column = f"split={{kind: predefined, column: {SPLIT}}}"
    repeats = "validation.duplicates=warn"
    fixed = [by_column, repeats]
    if not about["classes"] and load_config(path).data.task != "regression":
        fixed += ["data.task=regression", "data.classes=null"]  # as the proposal's note has it
    config = load_config(path, assignments=[*fixed, *assignments])
    (project / "rows.csv").write_bytes((folder / "rows.csv").read_bytes())
    today = datetime.now(UTC).date()
    rows = open_source(config.data.source, root=project, run_date=today).read()
    start, clock = _cpu_s(), time.perf_counter()
    fitted = fit(config, rows)
    taken = {"cpu_s": _cpu_s() - start, "wall_s": time.perf_counter() - clock}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        frame = fitted.predict(rows.filter(pc.equal(rows[SPLIT], "test")))
    np.save(folder / "predictions.npy", _predictions(frame, about["classes"]))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("\n" + json.dumps({**taken, "peak_mb": peak_mb, "versions": _versions()}))


def _propose(rows: Path, target: str) -> Path:
    """Write the table without the split, and the config that `evergreen new` makes of it."""
    from evergreen.commands.new import new

    table = pd.read_csv(rows, dtype=str, keep_default_na=False).drop(columns=SPLIT)
    table.to_csv("rows.csv", index=False)
    with contextlib.redirect_stdout(sys.stderr):
        new("rows.csv", target=target, name="rows")
    return Path("configs/rows.yaml").absolute()


def _predictions(frame: pd.DataFrame, classes: list[str]) -> np.ndarray:
    """Return probabilities in the order of the classes, or numbers."""
    if not classes:
        return frame["prediction"].to_numpy(dtype=float)
    head = "probability_"
    found = {n.removeprefix(head).strip(): frame[n] for n in frame if n.startswith(head)}
    return np.column_stack([found[word].to_numpy(dtype=float) for word in classes])


def _versions() -> dict[str, str]:
    """Return the commit of the product's checkout, and what it stands on."""
    import torch

    import pipeline_lib

    place = Path(pipeline_lib.__file__).parent
    git = ["git", "-C", str(place), "rev-parse", "--short", "HEAD"]
    done = subprocess.run(git, check=False, capture_output=True, text=True)
    return {"evergreen": done.stdout.strip() or "unknown", "torch": torch.__version__}


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


if __name__ == "__main__":
    main()
