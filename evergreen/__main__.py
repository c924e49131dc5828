"""The command `evergreen`."""

import os
import sys

from cyclopts import App

from evergreen.interruption import (
    Terminated,
    end_at_once,
    exit_code,
    raise_when_terminated,
    stop_listening,
)
from pipeline_lib.errors import EvergreenError, ServerLostError

app = App(
    name="evergreen",
    help="Keep models of tables fresh: retrain every night, promote only what is not worse.",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,  # it would end without a word
)
for _name, _help in {
    "run": "Retrain a dataset now, and promote the model if it is not worse.",
    "new": "Look at a table and write a config for it.",
    "check": "Check a config, and that its table has the columns it names.",
    "codes": "Show which code is which category.",
    "compare": "Compare the latest runs of a dataset.",
    "deploy": "Put the flows and their schedules on the Prefect server.",
    "doctor": "Check that this machine, the databases and the servers are in order.",
}.items():
    app.command(f"evergreen.commands.{_name}:{_name}", name=_name, help=_help)


def main() -> None:
    """Run the command; a mistake gets one message and its exit code, never a traceback."""
    raise_when_terminated()
    try:
        sys.exit(app() or 0)
    except ServerLostError as error:
        print(f"error: {error}", file=sys.stderr)
        end_at_once(error.exit_code)
    except EvergreenError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `evergreen codes … | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt as error:
        stop_listening()
        notes: list[str] = getattr(error, "__notes__", [])
        print("; ".join(["interrupted", *notes]), file=sys.stderr)
        if isinstance(error, Terminated) and error.server_lost:
            end_at_once(error.exit_code)
        sys.exit(exit_code(error))


if __name__ == "__main__":
    main()
