"""One MLflow run of one retraining: started with everything known, always brought to an end."""

import json
import socket
import subprocess
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from mlflow.entities import Dataset, DatasetInput, InputTag, Param, Run
from mlflow.entities import Metric as MlflowMetric
from mlflow.exceptions import MlflowException, RestException

from pipeline_lib.config import PipelineConfig
from pipeline_lib.config.load import config_yaml, flat_settings
from pipeline_lib.config.training import CrossEntropy
from pipeline_lib.data.snapshots.snapshot import Snapshot
from pipeline_lib.errors import ServerError
from pipeline_lib.home import Home, is_run_key
from pipeline_lib.scratch import sweep_beside
from pipeline_lib.storage.json_files import Json
from pipeline_lib.tracking.client import StoreClient
from pipeline_lib.tracking.logged_models import discard_abandoned
from pipeline_lib.tracking.reference import RunReference
from pipeline_lib.tracking.store import (
    connect,
    experiment_id,
    ui_url,
    uses_server,
    what_failed,
)
from pipeline_lib.tracking.unrecorded import end_or_keep

_MAX_PARAM_CHARACTERS = 6000
_MAX_DIGEST_CHARACTERS = 36
_PLACE = "dataset.folder"
_CLASS_WEIGHTS = "training.loss.class_weights"


@dataclass(frozen=True)
class TrackedRun:
    """A running MLflow run; every call names it, nothing depends on threads or globals."""

    client: StoreClient
    reference: RunReference

    @classmethod
    def of(cls, reference: RunReference) -> "TrackedRun":
        """Open a run that was started elsewhere.

        Raises:
            ServerError: MLflow is absent or refuses.
        """
        return cls(connect(reference.home), reference)

    @property
    def run_id(self) -> str:
        """MLflow's id of the run."""
        return self.reference.run_id

    @property
    def run_key(self) -> str:
        """What makes two runs the same."""
        return self.reference.run_key

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Record final numbers, all in one call."""
        entries = [
            MlflowMetric(k, float(v), self.reference.start_ms, 0) for k, v in metrics.items()
        ]
        self.client.log_batch(self.run_id, metrics=entries)

    def log_chosen(self, config: PipelineConfig) -> None:
        """Record what `model: {kind: auto}` has chosen: as parameters, and as a whole config.

        Args:
            config: with the chosen model and training in it. `model.kind` stays `auto`.
        """
        public = config.without_private_words()
        known = self.client.get_run(self.run_id).data.params
        params = [param for param in _params(public) if param.key not in known]
        self.client.log_batch(self.run_id, params=params)
        self.log_text(config_yaml(public), "chosen.yaml")

    def log_text(self, text: str, path: str) -> None:
        """Record text as an artifact."""
        self.client.log_text(self.run_id, text, path)

    def log_json(self, value: Json, path: str) -> None:
        """Record a value as a JSON artifact."""
        text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
        self.client.log_text(self.run_id, text, path)

    def log_table(self, table: pd.DataFrame, path: str) -> None:
        """Record a table as a CSV artifact under `tables/`."""
        self.client.log_text(self.run_id, table.to_csv(index=False), f"tables/{path}")

    def log_figure(self, figure: Figure, path: str) -> None:
        """Record a picture as an artifact under `plots/`."""
        self.client.log_figure(self.run_id, figure, f"plots/{path}")

    def log_file(self, file: Path, path: str) -> None:
        """Record a file as an artifact in the folder `path`."""
        self.client.log_artifact(self.run_id, str(file), path)

    def log_folder(self, folder: Path, path: str) -> None:
        """Record all files below a folder as artifacts; there may be none."""
        if folder.is_dir():
            self.client.log_artifacts(self.run_id, str(folder), path)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Record tags."""
        for key, value in tags.items():
            self.client.set_tag(self.run_id, key, value)

    def describe(self, markdown: str) -> None:
        """Set the run's description, which MLflow renders on its page."""
        self.client.set_tag(self.run_id, "mlflow.note.content", markdown)


@contextmanager
def start_run(
    config: PipelineConfig,
    home: Home,
    snapshot: Snapshot | None,
    *,
    run_key: str,
    run_name: str,
    tags: Mapping[str, str],
) -> Generator[RunReference]:
    """Start a run with its parameters, tags, config and dataset; always end it.

    A run that ended before it had a snapshot has neither a dataset nor a run key.

    The run ends FINISHED, FAILED after an exception, or KILLED after an interruption. Runs of the
    same key, or of the same dataset's folder, that a killed process left RUNNING are ended as
    KILLED first: the caller holds the folder, so no other run is in it.

    Raises:
        ServerError: MLflow is absent or refuses, now or at any call of this run. If it is
            the last one, which ends the run, the next run makes it.
    """
    client = connect(home)
    try:
        experiment, run = _create(client, config, snapshot, run_key, run_name, tags)
    except MlflowException as error:
        raise _lost(client, error) from error
    reference = RunReference(
        run.info.run_id,
        experiment,
        run_key,
        start_ms=int(run.info.start_time),
        url=f"{ui_url()}/#/experiments/{experiment}/runs/{run.info.run_id}"
        "?workflowType=machine_learning",
        home=home,
    )
    tracked = TrackedRun(client, reference)
    try:
        public = config.without_private_words()
        client.log_batch(tracked.run_id, params=_params(public))
        if snapshot is not None:
            client.log_inputs(tracked.run_id, [_dataset(config, snapshot)])
        tracked.log_text(config_yaml(public), "config.yaml")
        yield reference
    except BaseException as error:
        status = "FAILED" if isinstance(error, Exception) else "KILLED"
        if not _is_silence(error):  # the next run ends it as KILLED
            with suppress(MlflowException):
                client.set_terminated(tracked.run_id, status)
        if isinstance(error, MlflowException):
            raise _lost(client, error) from error
        raise
    end_or_keep(home.dataset(config.name), tracked.run_id, "FINISHED")


def _create(
    client: StoreClient,
    config: PipelineConfig,
    snapshot: Snapshot | None,
    run_key: str,
    run_name: str,
    tags: Mapping[str, str],
) -> tuple[str, Run]:
    """End what kills have left open, and return the experiment's id and a new run."""
    experiment = experiment_id(client, config.name)
    place = f"{socket.gethostname()}:{client.home.dataset(config.name).folder}"
    ours = {_PLACE: place, **({"run_key": run_key} if run_key else {})}
    _end_abandoned(client, experiment, ours)
    discard_abandoned(client, experiment, config.name, ours)
    all_tags = {
        **config.tracking.tags,
        "run_key": run_key,
        _PLACE: place,
        "data.digest": snapshot.digest if snapshot else "",
        "config.digest": config.digest(),
        "config.path": config.path,
        "git.commit": _git_commit(config.project),
        "mlflow.source.name": "flows/retrain.py",
        **tags,
    }
    known = {k: v for k, v in all_tags.items() if v}
    return experiment, client.create_run(experiment, run_name=run_name, tags=known)


def _is_silence(error: BaseException) -> bool:
    """Return whether the server did not answer: another call would take as long again."""
    is_answer = isinstance(error, RestException) or not uses_server()
    return isinstance(error, ServerError | MlflowException) and not is_answer


def _lost(client: StoreClient, error: MlflowException) -> ServerError:
    return ServerError(
        f"{what_failed(client, error)}. What is trained is kept: when MLflow is in order, "
        "run the same again, and it goes on from there"
    )


def _end_abandoned(client: StoreClient, experiment: str, ours: Mapping[str, str]) -> None:
    for run in client.search_runs([experiment], "attributes.status = 'RUNNING'"):
        if any(run.data.tags.get(tag) == value for tag, value in ours.items()):
            if is_run_key(key := run.data.tags.get("run_key", "")):
                sweep_beside(client.home.run(key).folder)
            client.set_terminated(run.info.run_id, "KILLED")


def _params(config: PipelineConfig) -> Sequence[Param]:
    """Return the config as flat parameters; columns are numbered, names are only ever values."""
    left_out = ("columns.", "tracking.", "execution.", f"{_CLASS_WEIGHTS}.")
    flat = {k: value for k, value in flat_settings(config).items() if not k.startswith(left_out)}
    loss = config.training.loss
    if isinstance(loss, CrossEntropy) and isinstance(loss.class_weights, dict):
        flat[_CLASS_WEIGHTS] = json.dumps(loss.class_weights, ensure_ascii=False)
    for number, (name, column) in enumerate(config.columns.items()):
        flat[f"columns.{number}.name"] = name
        flat |= {f"columns.{number}.{k}": value for k, value in flat_settings(column).items()}
    return [Param(key, value[:_MAX_PARAM_CHARACTERS]) for key, value in flat.items()]


def _dataset(config: PipelineConfig, snapshot: Snapshot) -> DatasetInput:
    profile = json.dumps({"num_rows": snapshot.n_rows, "digest": snapshot.digest})
    dataset = Dataset(
        name=config.name,
        digest=snapshot.digest[:_MAX_DIGEST_CHARACTERS],
        source_type="local",
        source=json.dumps({"uri": snapshot.source}),
        profile=profile,
    )
    return DatasetInput(dataset, tags=[InputTag("mlflow.data.context", "snapshot")])


def _git_commit(project: Path) -> str:
    """Return the commit of the project, `-dirty` with local changes, or nothing outside git."""
    command = [
        "git",
        "-C",
        str(project),
        "describe",
        "--always",
        "--abbrev=40",
        "--dirty",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
