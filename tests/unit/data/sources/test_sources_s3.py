"""Files in a bucket, asked for as AWS's own library does, from a server of the tests' own."""

import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec import AbstractFileSystem

from pipeline_lib.config.sources import CsvFile, ParquetFile
from pipeline_lib.data.sources.open import open_source
from pipeline_lib.data.sources.stream import RowStream
from pipeline_lib.errors import EvergreenError, SourceError, SourceNotFoundError

_NIGHT = date(2026, 5, 10)


@pytest.fixture(scope="module")
def moto_url() -> Generator[str]:
    """Start moto's S3 on a free port of the loopback."""
    pytest.importorskip("s3fs", reason="the extra `s3` is not installed")
    program = os.environ.get("EVERGREEN_TEST_MOTO") or shutil.which("moto_server")
    if program is None:
        pytest.skip("there is no moto_server in PATH, and EVERGREEN_TEST_MOTO names none")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    server = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(server, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=900)


def _wait_for(server: "subprocess.Popen[bytes]", port: int) -> None:
    for _ in range(9_000):
        if server.poll() is not None:
            pytest.skip("moto_server does not start")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.fail("moto_server did not answer within 15 minutes")


@pytest.fixture
def aws(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Point the environment at the server, as a person would."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2hunter2")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    return moto_url


@dataclass(frozen=True)
class _Bucket:
    system: AbstractFileSystem
    name: str

    def put(self, key: str, content: bytes) -> None:
        self.system.pipe_file(f"{self.name}/{key}", content)

    def __str__(self) -> str:
        return f"s3://{self.name}"


@pytest.fixture(scope="module")
def system(moto_url: str) -> AbstractFileSystem:
    """Return a client that puts things there."""
    return fsspec.filesystem(
        "s3", endpoint_url=moto_url, key="testing", secret="testing", use_listings_cache=False
    )


@pytest.fixture
def bucket(aws: str, system: AbstractFileSystem) -> _Bucket:
    """Return a bucket of the test's own."""
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    system.mkdir(name)
    return _Bucket(system, name)


def _open(path: str, **settings: int) -> RowStream:
    source = CsvFile(path=path, window_days=settings.get("window_days"))
    return open_source(source, root=Path("/nowhere"), run_date=_NIGHT)


def test_a_csv_in_a_bucket_is_read_as_one_in_a_folder(bucket: _Bucket) -> None:
    bucket.put("data/a.csv", b"zip,b\n08123,x\n" + b"1,y\n" * 100_000)

    stream = _open(f"{bucket}/data/a.csv")

    assert stream.source == stream.parts[0].name == f"{bucket}/data/a.csv"
    assert stream.read().num_rows == 100_001
    assert next(stream.batches())["zip"][0].as_py() == "08123"


def test_parquet_in_a_bucket_is_read_as_one_in_a_folder(bucket: _Bucket, tmp_path: Path) -> None:
    table = pa.table({"x": list(range(1000))})
    pq.write_table(table, tmp_path / "x.parquet")
    bucket.put("x.parquet", (tmp_path / "x.parquet").read_bytes())

    source = ParquetFile(path=f"{bucket}/*.parquet")

    assert open_source(source, root=tmp_path, run_date=_NIGHT).read().equals(table)


def test_days_in_a_bucket_are_found_and_gaps_are_named(bucket: _Bucket) -> None:
    for day in ("2026-05-08", "2026-05-10", "2026-05-11", "2026-02-31"):
        bucket.put(f"day={day}/part-0.csv", b"a,b\n1,2\n")

    stream = _open(f"{bucket}/day={{YYYY}}-{{MM}}-{{DD}}/*.csv", window_days=3)

    assert [part.day for part in stream.parts] == [date(2026, 5, 8), date(2026, 5, 10)]
    assert stream.missing_days == (date(2026, 5, 9),)


def test_a_fingerprint_changes_when_the_content_does_and_only_then(bucket: _Bucket) -> None:
    def fingerprint(content: bytes) -> str:
        bucket.put("a.csv", content)
        return _open(f"{bucket}/a.csv").parts[0].fingerprint

    first = fingerprint(b"a,b\n1,2\n")

    assert fingerprint(b"a,b\n1,3\n") != first
    assert fingerprint(b"a,b\n1,2\n") == first


def test_a_file_that_came_after_the_last_listing_is_seen(bucket: _Bucket) -> None:
    bucket.put("a.csv", b"a,b\n1,2\n")
    assert len(_open(f"{bucket}/*.csv").parts) == 1

    bucket.put("b.csv", b"a,b\n1,2\n")

    assert len(_open(f"{bucket}/*.csv").parts) == 2


def test_an_object_that_is_replaced_before_it_is_read_is_refused(bucket: _Bucket) -> None:
    bucket.put("a.csv", b"a,b\n1,2\n")
    stream = _open(f"{bucket}/a.csv")

    bucket.put("a.csv", b"a,b\n1,2\n3,4\n")

    with pytest.raises(SourceError, match=r"a\.csv changed while it was read"):
        stream.read()


@pytest.mark.parametrize("key", ["absent.csv", "*.csv", "{YYYY}/{MM}/{DD}.csv"])
@pytest.mark.parametrize("there", [True, False], ids=["bucket", "no bucket"])
def test_what_is_not_there_is_told_by_its_url(bucket: _Bucket, key: str, there: bool) -> None:
    path = f"{bucket if there else 's3://no-such-bucket'}/{key}"

    with pytest.raises(SourceNotFoundError) as raised:
        _open(path)

    assert str(raised.value).startswith(f"{path}: ")


def test_a_folder_and_an_empty_object_are_no_tables(bucket: _Bucket) -> None:
    bucket.put("folder/empty.csv", b"")

    with pytest.raises(SourceError, match=r"empty\.csv is empty"):
        _open(f"{bucket}/folder/empty.csv")
    with pytest.raises(SourceError, match="there is no such file"):
        _open(f"{bucket}/folder")


def test_without_credentials_one_message_names_the_url(
    bucket: _Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    with pytest.raises(SourceError) as raised:
        _open(f"{bucket}/a.csv")

    assert str(raised.value).startswith(f"{bucket}/a.csv: cannot be read: ")
    assert "redentials" in str(raised.value)


def test_a_server_that_is_not_there_is_told_by_the_url_and_no_secret(
    aws: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))  # bound but not listening: refuses every connection
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")

        with pytest.raises(EvergreenError) as raised:
            _open("s3://bucket/a.csv")

    assert str(raised.value).startswith("s3://bucket/a.csv: cannot be read: ")
    assert "hunter2" not in str(raised.value)


def test_without_s3fs_the_extra_is_named() -> None:
    ask = (
        "import sys; sys.modules['s3fs'] = None; from pathlib import Path; "
        "from pipeline_lib.data.sources.stores import store_of; "
        "store_of('s3://b/a.csv', root=Path())"
    )

    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)

    assert "UsageError: s3://b/a.csv: S3 needs s3fs" in done.stderr
    assert "pip install 'evergreen-tables[s3]'" in done.stderr
