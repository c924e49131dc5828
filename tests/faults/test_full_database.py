"""An embedded MLflow database that cannot grow, by a real limit of the operating system."""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = """
import os, resource
from pathlib import Path
from mlflow.exceptions import MlflowException
from pipeline_lib.home import find_home
from pipeline_lib.tracking.store import connect, experiment_id, what_failed

client = connect(find_home())
run = client.create_run(experiment_id(client, "cars"))
size = (Path(os.environ["EVERGREEN_HOME"]) / "mlflow.db").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
try:
    for number in range(1000):
        client.set_tag(run.info.run_id, f"note {number}", "x" * 4000)
except MlflowException as error:
    print(what_failed(client, error))
"""


def test_a_database_that_cannot_grow_is_one_line_that_names_the_disk(
    evergreen_home_of_the_test: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=PROJECT, capture_output=True, text=True, check=False
    )

    (said,) = done.stdout.splitlines()
    assert f"MLflow at sqlite:///{evergreen_home_of_the_test}/mlflow.db refuses: disk I/O" in said
    assert f"({evergreen_home_of_the_test} has " in said
    assert "MB left; EVERGREEN_HOME names another place)" in said
    assert "Traceback" not in done.stderr
