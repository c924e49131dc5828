"""Asks the process that computes expressions, and says when it had to be ended.

One process serves all rules of a Python process, one request at a time; it ends with it.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

MAX_CPU_S = 5
MAX_MEMORY_MB = 512
# A process that waits costs no CPU seconds; nothing in an expression can wait, a machine can.
_MAX_WAIT_S = 300
_PROGRAM = Path(__file__).with_name("expression_process.py")


class SqlError(Exception):
    """What DuckDB says of an expression; `kind` is its error's name, which quotes no value."""

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class TooCostlyError(Exception):
    """An expression takes more time or memory than a rule may."""


@dataclass
class ExpressionProcess:
    """The process, started with the first request and again after it was ended."""

    _process: "subprocess.Popen[bytes] | None" = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def ask(
        self, do: str, expression: str = "", table: pa.Table | None = None
    ) -> tuple[object, pa.Table | None]:
        """Return the answer to a request, as JSON or as a table.

        Args:
            do: one of the requests of `expression_process`.
            expression: SQL.
            table: the rows it is asked of.

        Raises:
            SqlError: DuckDB refuses the expression, or it fails on a row.
            TooCostlyError: it took more than `MAX_CPU_S` or `MAX_MEMORY_MB`; the process is ended.
        """
        body = _as_bytes(table)
        request = {"do": do, "expression": expression, "n_bytes": len(body)}
        with self._lock:
            reply, answer = self._exchange(json.dumps(request).encode() + b"\n" + body)
        if reply.get("memory"):
            raise TooCostlyError(_MEMORY)
        if "error" in reply:
            raise SqlError(str(reply["error"]), str(reply["kind"]))
        rows = pa.ipc.open_stream(answer).read_all() if answer else None
        return reply.get("answer"), rows

    def _exchange(self, request: bytes) -> tuple[dict[str, Any], bytes]:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        timer = threading.Timer(_MAX_WAIT_S, process.kill)
        timer.daemon = True
        timer.start()
        try:
            with contextlib.suppress(BrokenPipeError):  # its exit status says why
                process.stdin.write(request)
                process.stdin.flush()
            line = process.stdout.readline()
            reply = cast("dict[str, Any]", json.loads(line)) if line else {}
            answer = process.stdout.read(int(reply.get("n_bytes", 0)))
        except BaseException:  # half an answer would be taken for the next one
            self.end()
            raise
        finally:
            timer.cancel()
        if not line or len(answer) < int(reply["n_bytes"]):
            raise TooCostlyError(self._why_ended(process))
        return reply, answer

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._process is None or self._process.poll() is not None:
            self.end()
            command = [sys.executable, "-P", str(_PROGRAM), str(MAX_CPU_S), str(MAX_MEMORY_MB)]
            # Arrow's own pools reserve addresses by the gigabyte, which the limit would count.
            self._process = subprocess.Popen(
                command,
                env={**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process

    def _why_ended(self, process: "subprocess.Popen[bytes]") -> str:
        code = process.wait()
        self.end()
        if code == -signal.SIGXCPU:
            return f"takes more than {MAX_CPU_S} CPU seconds on a batch of rows"
        if code == -signal.SIGKILL:
            return f"takes more than {_MAX_WAIT_S} s on a batch of rows, or the machine's memory"
        return _MEMORY if code < 0 else f"cannot be computed: its process ended with {code}"

    def end(self) -> None:
        """End the process."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what could not be written any more
                    pipe.close()


_MEMORY = f"takes more than {MAX_MEMORY_MB} MB of memory"


def _as_bytes(table: pa.Table | None) -> bytes:
    if table is None:
        return b""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return cast("bytes", sink.getvalue().to_pybytes())
