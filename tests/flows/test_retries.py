"""Runs whose source is not there at first: a bucket that says it is busy, and then answers."""

import http.server
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.csv as pa_csv
import pytest
from prefect.client.schemas.objects import State
from prefect.logging.configuration import setup_logging

from pipeline_lib.data.car_evaluation import car_evaluation
from pipeline_lib.evaluation.journal import read_journal
from pipeline_lib.home import find_home
from pipeline_lib.storage.locks import lock
from tests.flows.conftest import CONFIG

pytest.importorskip("s3fs")

FAST = """
execution: {retries: 3, backoff_s: 0.05}
evaluation: {baselines: [constant]}
"""
TAG = '"0123456789abcdef"'


@dataclass
class Bucket:
    """One file in a store that speaks as much of S3 as reading it takes."""

    content: bytes
    is_busy: bool = True
    goes_on: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list[str])

    def handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        bucket = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                bucket.asked.append(self.path)
                bucket.goes_on.wait()
                if bucket.is_busy:
                    self._say(503, "SlowDown")
                elif self.path.partition("?")[0] != "/tables/cars.csv":
                    self._say(404, "NoSuchKey")
                else:
                    self._file()

            do_HEAD = do_GET  # noqa: N815 - a name of the library

            def _file(self) -> None:
                first, last = 0, len(bucket.content) - 1
                if given := self.headers.get("Range"):
                    start, _, end = given.removeprefix("bytes=").partition("-")
                    first, last = int(start), min(last, int(end or last))
                part = bucket.content[first : last + 1]
                self.send_response(206 if given else 200)
                self.send_header("ETag", TAG)
                self.send_header("Last-Modified", "Tue, 26 May 2026 00:00:00 GMT")
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(bucket.content)}")
                self._end(part)

            def _say(self, status: int, code: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "application/xml")
                self._end(f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

            def _end(self, body: bytes) -> None:
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    pa_csv.write_csv(car_evaluation(), tmp_path / "cars.csv")
    made = Bucket((tmp_path / "cars.csv").read_bytes())
    made.goes_on.set()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), made.handler())
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")  # of botocore within one of ours
    yield made
    made.goes_on.set()
    server.shutdown()
    server.server_close()


@dataclass
class Retries:
    """The lines that say that a stage is tried again; after two of them the bucket answers."""

    bucket: Bucket
    lines: list[str] = field(default_factory=list[str])

    def emit(self, record: logging.LogRecord) -> None:
        if "tried again" in record.getMessage():
            self.lines.append(record.getMessage())
            self.bucket.is_busy = len(self.lines) < 2


@pytest.fixture
def retries(bucket: Bucket) -> Iterator[Retries]:
    setup_logging()  # the first time it removes what others have added
    seen = Retries(bucket)
    handler, logger = logging.Handler(logging.WARNING), logging.getLogger("prefect.task_runs")
    handler.emit = seen.emit
    logger.addHandler(handler)
    yield seen
    logger.removeHandler(handler)


def night(folder: Path, path: str, execution: str = FAST) -> State:
    from flows.retrain import retrain

    config = folder / "cars.yaml"
    source = f"source: {{kind: csv, path: {path}}}"
    text = CONFIG.replace("source: {kind: csv, path: cars.csv}", source)
    config.write_text(text.replace("epochs: 30", "epochs: 3") + execution)
    return retrain(str(config), return_state=True)


@pytest.mark.slow
def test_a_night_whose_bucket_is_busy_twice_succeeds_with_two_warnings(
    harness: None, tmp_path: Path, retries: Retries
) -> None:
    state = night(tmp_path, "s3://tables/cars.csv")

    assert state.is_completed(), state.message
    first, second = retries.lines
    assert first.startswith("ingest    s3://tables/cars.csv: cannot be read: ")
    assert first.endswith("(1 of 3)")
    assert second.endswith("(2 of 3)")
    (entry,) = read_journal(find_home().dataset("cars"))
    assert entry.decision in ("promoted", "kept", "rejected")


def test_a_night_with_a_typo_in_the_path_of_its_bucket_asks_once(
    harness: None, tmp_path: Path, retries: Retries, bucket: Bucket
) -> None:
    bucket.is_busy = False

    state = night(tmp_path, "s3://tables/car.csv")

    assert state.is_failed()
    assert "s3://tables/car.csv: there is no such file" in str(state.message)
    assert retries.lines == []
    (entry,) = read_journal(find_home().dataset("cars"))
    assert entry.decision == "stopped"


@pytest.mark.timeout(0)  # pytest's own would be an alarm as well
def test_a_night_whose_source_takes_too_long_fails_with_its_page_and_lets_the_dataset_go(
    harness: None, tmp_path: Path, retries: Retries, bucket: Bucket
) -> None:
    bucket.goes_on.clear()

    state = night(tmp_path, "s3://tables/cars.csv", "execution: {timeout_s: {ingest: 3}}\n")

    assert state.is_failed()
    assert "ingest took longer than 3 s and was ended" in str(state.message)
    assert retries.lines == []
    (entry,) = read_journal(find_home().dataset("cars"))
    assert entry.decision == "failed"
    assert "`execution.timeout_s.ingest`" in entry.reason
    (page,) = (tmp_path / "home" / "runs").glob("*/report.md")
    assert "ingest took longer than 3 s" in page.read_text()
    with lock(find_home().dataset("cars").lock, on_wait=lambda: pytest.fail("it is held")):
        pass
