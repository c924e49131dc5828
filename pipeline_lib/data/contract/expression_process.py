"""A DuckDB in a process of its own, which the system ends when it computes for too long.

Run as a script by `expression_client`; it imports nothing of this package. One call of a function,
as `levenshtein` of two long texts, cannot be interrupted, and what it allocates DuckDB does not
count: only a process can be ended for it. A request is a line of JSON and, where it says so, an
Arrow stream; so is an answer.
"""

import contextlib
import json
import math
import resource
import signal
import sys
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa

_TABLE = "evergreen_batch"
_CONFIG = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "preserve_insertion_order": "true",
    "threads": "1",
    "max_expression_depth": "250",
}


def main(max_cpu_s: int, max_memory_mb: int) -> None:
    """Answer requests on the standard input until it ends.

    Args:
        max_cpu_s: of one request.
        max_memory_mb: of one request, besides its rows.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller receives it, and ends this process
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is reported, and leaves no file
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    connection = duckdb.connect(
        ":memory:", config={**_CONFIG, "memory_limit": f"{max_memory_mb}MB"}
    )
    connection.execute("SET TimeZone = 'UTC'").fetchall()
    connection.execute("SET lock_configuration = true").fetchall()
    while line := requests.readline():
        request = json.loads(line)
        n_bytes = int(request["n_bytes"])
        _limit(max_cpu_s, (max_memory_mb << 20) + 3 * n_bytes)
        try:
            rows = pa.ipc.open_stream(requests.read(n_bytes)).read_all() if n_bytes else None
            reply, table = _answer(connection, request, rows)
        except (MemoryError, duckdb.OutOfMemoryException, pa.ArrowMemoryError):
            reply, table = {"memory": True}, None
        except duckdb.Error as error:
            reply = {"error": str(error)[:10_000], "kind": type(error).__name__}
            table = None
        _write(answers, reply, table)


def _answer(
    connection: duckdb.DuckDBPyConnection, request: dict[str, Any], rows: pa.Table | None
) -> tuple[dict[str, Any], pa.Table | None]:
    match request["do"]:
        case "functions":
            listed = connection.execute(
                "SELECT function_name, bool_and(function_type = 'scalar' AND stability = "
                "'CONSISTENT') FROM duckdb_functions() GROUP BY function_name"
            ).fetchall()
            return {"answer": [[str(name), bool(steady)] for name, steady in listed]}, None
        case "parse":
            # The line break ends a comment.
            statement = f"SELECT ({request['expression']}\n)"
            parsed = connection.execute("SELECT json_serialize_sql(?)", [statement]).fetchall()
            return {"answer": parsed[0][0]}, None
        case _:
            query = f"SELECT ({request['expression']}\n) AS kept FROM {_TABLE}"  # noqa: S608
            if request["do"] == "condition":
                query = f"SELECT 1 FROM {_TABLE} WHERE ({request['expression']}\n)"  # noqa: S608
            connection.register(_TABLE, rows)
            try:
                return {}, connection.sql(query).to_arrow_table()
            finally:
                connection.unregister(_TABLE)


def _limit(cpu_s: int, more_bytes: int) -> None:
    """Let the system end this process, or refuse it memory, beyond what it has had so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    so_far = math.ceil(used.ru_utime + used.ru_stime)
    resource.setrlimit(resource.RLIMIT_CPU, (so_far + cpu_s, resource.RLIM_INFINITY))
    with contextlib.suppress(OSError):  # only Linux knows and limits the size of a process
        size = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
        limit = (size + more_bytes, resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_AS, limit)


def _write(answers: BinaryIO, reply: dict[str, Any], table: pa.Table | None) -> None:
    body = b""
    if table is not None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        body = sink.getvalue().to_pybytes()
    answers.write(json.dumps({**reply, "n_bytes": len(body)}).encode() + b"\n" + body)
    answers.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
