"""A fitted model as an MLflow model: code, safetensors and JSON; verified before it counts."""

import os
import subprocess
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
import pandas as pd
from mlflow import pyfunc
from mlflow.models import Model, ModelSignature
from mlflow.types.schema import AnyType, ColSpec, DataType, Schema, TensorSpec

from pipeline_lib.encoding import ClassTarget, LabelType
from pipeline_lib.errors import ModelError
from pipeline_lib.permissions import close_tree
from pipeline_lib.serving import FittedModel, load_model
from pipeline_lib.storage import evergreen_home
from pipeline_lib.tracking.runs import TrackedRun
from pipeline_lib.tracking.versions import downloaded

_HERE = Path(__file__).resolve().parent
_REQUIREMENTS = (
    "mlflow",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "ruamel.yaml",
    "safetensors",
    "torch",
)
_LABELS: dict[LabelType, DataType] = {
    "text": DataType.string,
    "integer": DataType.long,
    "number": DataType.double,
    "boolean": DataType.boolean,
}
_REPLAY_TIMEOUT_S = 300
_TOLERANCE = 1e-6


def package_model(run: TrackedRun, model_folder: Path) -> str:
    """Log a saved model as the run's MLflow model.

    Args:
        run: the run it belongs to.
        model_folder: what `FittedModel.save` wrote.

    Returns:
        The model's URI.
    """
    model = load_model(model_folder)
    # Left alone, MLflow would file the model under its active experiment, which nobody has set.
    logged = run.client.create_logged_model(
        run.reference.experiment_id, name="model", source_run_id=run.run_id
    )
    with warnings.catch_warnings():
        # Type hints would have MLflow convert rows; an example would be stored. Neither is wanted.
        warnings.simplefilter("ignore", UserWarning)
        info = Model.log(
            artifact_path=None,
            name="model",
            model_id=logged.model_id,
            flavor=pyfunc,
            run_id=run.run_id,
            python_model=str(_HERE / "model_code.py"),
            artifacts={"model": model_folder.as_uri()},  # a path with % or # is no address
            code_paths=[str(_HERE.parent)],
            signature=signature_of(model),
            pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in _REQUIREMENTS],
        )
    _close(str(logged.artifact_location))
    return str(info.model_uri)


def _close(location: str) -> None:
    """Close a package in the home as the home is: MLflow copies code with its permissions."""
    home = evergreen_home()
    folder = Path(unquote(urlsplit(location).path))
    if location.startswith("file:") and folder.is_relative_to(home) and folder.is_dir():
        close_tree(folder, home.stat().st_mode & 0o770)


def signature_of(model: FittedModel) -> ModelSignature:
    """Return inputs and outputs by name.

    Inputs have the type `any`: MLflow would refuse whole numbers where it reads "string" or
    "double", while the model's own contract takes them and checks more.
    """
    inputs: list[ColSpec | TensorSpec] = [
        ColSpec(AnyType(), name) for name in model.encoder.columns
    ]
    target = model.target
    label = _LABELS[target.label_type] if isinstance(target, ClassTarget) else DataType.double
    outputs: list[ColSpec | TensorSpec] = [ColSpec(label, "prediction")]
    if isinstance(target, ClassTarget):
        outputs += [ColSpec(DataType.double, f"probability_{c}") for c in target.classes]
    outputs.append(ColSpec(DataType.integer, "unseen"))
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))


def verify_package(model_uri: str, golden: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Load the package in a clean process, with pickle forbidden, and compare its predictions.

    Args:
        model_uri: what `package_model` returned.
        golden: raw rows.
        expected: what the model said of them before it was packaged.

    Raises:
        ModelError: the package does not load, or does not say the same.
    """
    with downloaded(model_uri) as package, tempfile.TemporaryDirectory() as scratch:
        rows, out = Path(scratch) / "rows.parquet", Path(scratch) / "out.parquet"
        golden.to_parquet(rows)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
        environment["PYTHONDONTWRITEBYTECODE"] = "1"  # the package stays as it was logged
        # -P: the script's own folder must not come before the packages of the environment.
        command = [sys.executable, "-P", str(_HERE / "replay.py")]
        command += [str(path) for path in (package, rows, out)]
        try:
            done = subprocess.run(
                command,
                cwd=scratch,
                env=environment,
                capture_output=True,
                text=True,
                timeout=_REPLAY_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ModelError(
                f"{model_uri}: predicting in a clean process took over {_REPLAY_TIMEOUT_S} s"
            ) from None
        if done.returncode != 0:
            last = (done.stderr.strip() or "no output").splitlines()[-1]
            raise ModelError(f"{model_uri} cannot be loaded in a clean process: {last}")
        _compare(model_uri, pd.read_parquet(out), expected)


def _compare(model_uri: str, actual: pd.DataFrame, expected: pd.DataFrame) -> None:
    if list(actual.columns) != list(expected.columns) or len(actual) != len(expected):
        raise ModelError(f"{model_uri}: the reloaded model answers with other columns or rows")
    for name in expected.columns:
        ours, theirs = expected[name].to_numpy(), actual[name].to_numpy()
        if ours.dtype.kind != theirs.dtype.kind:
            same = False
        elif ours.dtype.kind == "f":
            same = np.allclose(ours, theirs, rtol=_TOLERANCE, atol=_TOLERANCE)
        else:
            same = bool((ours == theirs).all())
        if not same:
            raise ModelError(f"{model_uri}: the reloaded model says something else of {name!r}")
