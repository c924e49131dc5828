"""The parts of a retraining that are no training, each as a program that can run alone."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One line of the table of parts.

    `needs_fresh_home` gives the program an empty EVERGREEN_HOME, else it gets the warm one.
    """

    what: str
    code: str
    remark: str = ""
    needs_fresh_home: bool = False


_FLOW = """
from evergreen.environment import prepare_prefect
from pipeline_lib.home import find_home
prepare_prefect(find_home())
from prefect import flow
@flow
def trivial():
    pass
trivial()
"""
_MLFLOW_STORE = """
from pipeline_lib.home import find_home
from pipeline_lib.tracking.store import connect
connect(find_home())
"""
_RELOAD = """
import os, sqlite3, subprocess, sys
from pathlib import Path
import pipeline_lib
home = Path(os.environ["EVERGREEN_HOME"])
with sqlite3.connect(home / "mlflow.db") as db:
    query = "select storage_location from model_versions order by version desc limit 1"
    package = db.execute(query).fetchone()[0].removeprefix("file://")
rows = next((home / "datasets").glob("*/splits/*/test.parquet"))
script = Path(pipeline_lib.__file__).parent / "tracking" / "replay.py"
os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
subprocess.run([sys.executable, "-P", str(script), package, str(rows), "out.parquet"], check=True)
"""
_TENSORBOARD = """
import torch
from torch.utils.tensorboard import SummaryWriter
from torch import nn
writer = SummaryWriter("tensorboard")
{graph}
writer.close()
"""
_GRAPH = "writer.add_graph(nn.Sequential(nn.Linear(9, 200), nn.ReLU()), torch.zeros(2, 9))"

PARTS = (
    Part("Python itself", "pass"),
    Part("import pandas and pyarrow", "import pandas, pyarrow", "the plain script needs them too"),
    Part("import torch", "import torch", "the plain script needs it too"),
    Part(
        "import torch, scikit-learn, torchmetrics, matplotlib",
        "import torch, sklearn.ensemble, sklearn.metrics, torchmetrics.classification, "
        "matplotlib.figure",
    ),
    Part("import MLflow", "import mlflow"),
    Part("import what we use of MLflow", "import pipeline_lib.tracking.store"),
    Part("import Prefect", "from prefect import flow, task"),
    Part("import the flow with its tasks", "import flows.retrain"),
    Part("an empty Prefect flow, database there", _FLOW, "server started and stopped"),
    Part("an empty Prefect flow, first run of all", _FLOW, "with the schema", True),
    Part("open MLflow's database", _MLFLOW_STORE, "with the import"),
    Part("open MLflow's database, first time of all", _MLFLOW_STORE, "with the schema", True),
    Part("load the registered model in a clean process", _RELOAD, "MLflow, torch, 261 rows"),
    Part("TensorBoard's writer, after torch", _TENSORBOARD.format(graph=""), "with torch"),
    Part("the same with the network's graph", _TENSORBOARD.format(graph=_GRAPH), "with torch"),
)
