"""A fitted model as an MLflow model: code, safetensors and JSON; verified before it counts."""

import os
import shutil
import subprocess
import sys
import warnings
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow import MlflowClient, pyfunc
from mlflow.entities import LoggedModel, LoggedModelOutput, Metric
from mlflow.exceptions import MlflowException
from mlflow.models import Model, ModelSignature
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.types.schema import AnyType, ColSpec, DataType, Schema, TensorSpec

from pipeline_lib.encoding import ClassTarget, LabelType
from pipeline_lib.errors import ModelError
from pipeline_lib.home import Home
from pipeline_lib.permissions import close_tree
from pipeline_lib.scratch import scratch_folder
from pipeline_lib.serving import FittedModel, load_model
from pipeline_lib.tracking.logged_models import check_recorded, discard_logged, model_id_of
from pipeline_lib.tracking.package_code import copy_code
from pipeline_lib.tracking.runs import TrackedRun
from pipeline_lib.tracking.versions import (
    FILES_SHA256,
    MODEL_FOLDER,
    downloaded,
    files_digest,
)

_HERE = Path(__file__).resolve().parent
_REQUIREMENTS = (
    "mlflow",
    "numpy",
    "pandas",
    "pyarrow",
    "pydantic",
    "ruamel.yaml",
    "safetensors",
    "scipy",
    "torch",
)
_LABELS: dict[LabelType, DataType] = {
    "text": DataType.string,
    "integer": DataType.long,
    "number": DataType.double,
    "boolean": DataType.boolean,
}
# Metrics that are no curves.
_FINAL = ("best", "test", "baseline", "champion", "delta")
_REPLAY_TIMEOUT_S = 300
_TOLERANCE = 1e-6


def packaged(run: TrackedRun, model_folder: Path, golden: pd.DataFrame) -> str:
    """Return the URI of a saved model's new package, which a clean process has loaded.

    Args:
        run: the run it belongs to.
        model_folder: what `FittedModel.save` wrote.
        golden: raw rows, for which package and model have to predict the same.

    Raises:
        ModelError: the package does not load, or predicts something else.
    """
    expected = load_model(model_folder).predict(golden)
    model_uri = package_model(run, model_folder)
    try:
        verify_package(run.client.home, model_uri, golden, expected)
    except ModelError:
        discard_logged(run.client, run.client.get_logged_model(model_id_of(model_uri)))
        raise
    return model_uri


def package_model(run: TrackedRun, model_folder: Path) -> str:
    """Log a saved model as the run's MLflow model; it is pending until it is registered.

    Args:
        run: the run it belongs to.
        model_folder: what `FittedModel.save` wrote.

    Returns:
        The model's URI.
    """
    # Left alone, MLflow would file the model under its active experiment, which is not set.
    logged = run.client.create_logged_model(
        run.reference.experiment_id, name="model", source_run_id=run.run_id
    )
    try:
        with scratch_folder(run.client.home) as scratch:
            package = _built(run, logged, model_folder, scratch)
            run.client.set_logged_model_tags(logged.model_id, {FILES_SHA256: files_digest(package)})
            run.client.log_model_artifacts(logged.model_id, str(package))
        run.client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=0)])
        _copy_metrics(run, logged.model_id)
    except BaseException:
        with suppress(MlflowException):  # the next run removes it
            discard_logged(run.client, logged)
        raise
    return f"models:/{logged.model_id}"


def _built(run: TrackedRun, logged: LoggedModel, model_folder: Path, scratch: Path) -> Path:
    """Write the package: MLflow's own way to log it would leave copies in the temporary folder."""
    package, code = scratch / "package", scratch / "code"
    copy_code(code)
    model = load_model(model_folder)
    required = sorted({*_REQUIREMENTS, *model.kind.requirements})
    described = Model(
        artifact_path=logged.artifact_location,
        model_uuid=logged.model_id,
        run_id=run.run_id,
        model_id=logged.model_id,
    )
    with warnings.catch_warnings():
        # Type hints would have MLflow convert rows; an example would be stored. Neither is wanted.
        warnings.simplefilter("ignore", UserWarning)
        pyfunc.save_model(
            path=str(package),
            mlflow_model=described,
            python_model=str(_HERE / "model_code.py"),
            code_paths=[str(folder) for folder in code.iterdir()],
            signature=signature_of(model),
            pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in required],
        )
    shutil.copytree(model_folder, package / MODEL_FOLDER)
    pyfunc_flavor = described.flavors[pyfunc.FLAVOR_NAME]
    pyfunc_flavor["artifacts"] = {"model": {"path": MODEL_FOLDER, "uri": MODEL_FOLDER}}
    described.model_size_bytes = sum(p.stat().st_size for p in package.rglob("*") if p.is_file())
    described.save(str(package / MLMODEL_FILE_NAME))
    if (home := run.client.home.root).is_dir():  # MLflow copies code with its permissions
        close_tree(package, home.stat().st_mode & 0o770)
    return package


def _copy_metrics(run: TrackedRun, model_id: str) -> None:
    """Show the run's final numbers on the model's page, too."""
    entries = [
        Metric(key, value, run.reference.start_ms, 0, model_id=model_id, run_id=run.run_id)
        for key, value in run.client.get_run(run.run_id).data.metrics.items()
        if key.partition("/")[0] in _FINAL
    ]
    run.client.log_batch(run.run_id, metrics=entries)


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


def verify_package(
    home: Home, model_uri: str, golden: pd.DataFrame, expected: pd.DataFrame
) -> None:
    """Load the package in a clean process, with pickle forbidden, and compare its predictions.

    Args:
        home: whose scratch folder is used.
        model_uri: what `package_model` returned.
        golden: raw rows.
        expected: the predictions of the model before it was packaged.

    Raises:
        ModelError: the package is not the one that was logged, does not load, or predicts
            something else.
    """
    with downloaded(home, model_uri) as package, scratch_folder(home) as scratch:
        check_recorded(MlflowClient(), model_uri, package)
        rows, out = scratch / "rows.parquet", scratch / "out.parquet"
        golden.to_parquet(rows)
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        environment["TMPDIR"] = str(scratch)
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
        raise ModelError(f"{model_uri}: the reloaded model returns other columns or rows")
    for name in expected.columns:
        ours, theirs = expected[name].to_numpy(), actual[name].to_numpy()
        if ours.dtype.kind != theirs.dtype.kind:
            same = False
        elif ours.dtype.kind == "f":
            same = np.allclose(ours, theirs, rtol=_TOLERANCE, atol=_TOLERANCE)
        else:
            same = bool((ours == theirs).all())
        if not same:
            raise ModelError(f"{model_uri}: the reloaded model predicts other values of {name!r}")
