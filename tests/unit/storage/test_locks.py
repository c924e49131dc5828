"""Locks between processes."""

import subprocess
import sys
from pathlib import Path

from pipeline_lib.storage.locks import lock


def test_a_lock_is_waited_for_and_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from pipeline_lib.storage.locks import lock\n"
        "with lock(Path(sys.argv[1]), on_wait=lambda: None):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / ".lock")]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    waits: list[str] = []

    def kill_the_holder() -> None:
        waits.append("waiting")
        holder.kill()
        holder.wait()

    with lock(tmp_path / ".lock", on_wait=kill_the_holder):
        pass

    assert waits == ["waiting"]
