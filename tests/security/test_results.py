"""Somebody who may write states on a Prefect server plants a pickle as a run's result."""

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Literal
from uuid import UUID

import pyarrow.csv as pa_csv
import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.flow_engine import run_flow
from prefect.results import ResultRecord, ResultRecordMetadata
from prefect.serializers import PickleSerializer
from prefect.settings import PREFECT_LOCAL_STORAGE_PATH, temporary_settings
from prefect.states import Pending

from flows.attempt import seen
from flows.retrain import retrain
from pipeline_lib.errors import DataError, ServerError

CONFIG = """
name: planted
data: {source: {kind: csv, path: toy.csv}, target: label, task: multiclass}
columns: {color: {kind: category}, size: {kind: number}}
model: {kind: embedding_mlp, d_hidden: [8]}
training: {epochs: 3, device: cpu}
"""


class _Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._marker),)


class Attacker:
    """Knows the server's credentials, as who fills the run form does, and has a folder."""

    def __init__(self, client: SyncPrefectClient, folder: Path) -> None:
        self.client, self.marker = client, folder / "code-has-run"
        self._pickle = folder / "result"
        metadata = ResultRecordMetadata(
            storage_key=str(self._pickle), serializer=PickleSerializer()
        )
        self._metadata = metadata.model_dump(mode="json", serialize_as_any=True)
        record = ResultRecord(metadata=metadata, result=_Evil(self.marker))
        self._pickle.write_bytes(record.serialize())

    def plant(self, flow_run: UUID, kind: str = "COMPLETED") -> None:
        """Force a state on a flow run whose result is the pickle."""
        state = {"type": kind, "name": "Planted", "data": self._metadata}
        body = {"state": state, "force": True}
        self.client._client.post(f"/flow_runs/{flow_run}/set_state", json=body)

    def plant_when_one_runs(self, happened: Event, stop: Event) -> None:
        """Do it to whatever runs, for as long as it takes."""
        running = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.RUNNING]))
        )
        while not stop.wait(0.02):
            for flow_run in self.client.read_flow_runs(flow_run_filter=running):
                if flow_run.parameters.get("config", "").endswith("planted.yaml"):
                    self.plant(flow_run.id)
                    happened.set()


@pytest.fixture
def attacker(harness: None, tmp_path: Path) -> Iterator[Attacker]:
    with get_client(sync_client=True) as client:
        yield Attacker(client, tmp_path)


@pytest.fixture
def config(tmp_path: Path, toy_table) -> Path:
    (tmp_path / "planted.yaml").write_text(CONFIG)
    pa_csv.write_csv(toy_table(), tmp_path / "toy.csv")
    return tmp_path / "planted.yaml"


def test_a_pickle_can_be_planted_and_runs_where_it_is_read(attacker: Attacker) -> None:
    content = Path(attacker._metadata["storage_key"]).read_bytes()

    ResultRecord.deserialize(content)

    assert attacker.marker.exists()


def test_a_run_whose_state_is_replaced_ends_as_it_did_in_its_own_process(
    attacker: Attacker, config: Path
) -> None:
    happened, stop = Event(), Event()
    thread = Thread(target=attacker.plant_when_one_runs, args=(happened, stop))
    thread.start()
    try:
        with seen() as night:
            retrain(str(config), return_state=True)
    finally:
        stop.set()
        thread.join()

    assert happened.is_set()
    assert night.outcome is not None
    assert night.outcome.decision in ("promoted", "kept", "rejected")
    assert not attacker.marker.exists()


@pytest.mark.parametrize("return_type", ["result", "state"])
def test_a_state_that_is_planted_before_a_worker_begins_is_never_read(
    return_type: Literal["result", "state"], attacker: Attacker, config: Path
) -> None:
    flow_run = attacker.client.create_flow_run(
        retrain, parameters={"config": str(config)}, state=Pending()
    )
    attacker.plant(flow_run.id)

    with pytest.raises(ServerError, match="it is not read"):
        run_flow(retrain, flow_run=flow_run, return_type=return_type).result()

    assert not attacker.marker.exists()


@pytest.mark.parametrize("kind", ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"])
def test_a_state_of_any_kind_is_not_read(kind: str, attacker: Attacker) -> None:
    flow_run = attacker.client.create_flow_run(retrain, state=Pending())
    attacker.plant(flow_run.id, kind)
    state = attacker.client.read_flow_run(flow_run.id).state
    assert state is not None
    assert state.data is not None

    with pytest.raises(ServerError, match="it is not read"):
        state.result()
    with pytest.raises(ServerError, match="it is not read"):
        asyncio.run(state.aresult())

    assert not attacker.marker.exists()


def test_what_prefect_keeps_of_a_failed_run_is_no_pickle(
    harness: None, config: Path, tmp_path: Path
) -> None:
    (tmp_path / "toy.csv").unlink()

    with (
        temporary_settings({PREFECT_LOCAL_STORAGE_PATH: tmp_path / "storage"}),
        pytest.raises(DataError),
    ):
        retrain(str(config))

    kept = [path.read_text() for path in (tmp_path / "storage").rglob("*") if path.is_file()]
    assert kept
    assert all("SourceNotFoundError" in json.loads(text)["__exc_type__"] for text in kept)
