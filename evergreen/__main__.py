"""The command `evergreen`."""

import sys

from cyclopts import App, CycloptsError

from evergreen.environment import prepare_user
from evergreen.failures import describe, wants_traceback
from evergreen.interruption import (
    Terminated,
    end_at_once,
    exit_code,
    raise_when_terminated,
    stop_listening,
)
from evergreen.streams import lost_output, prepare_streams
from evergreen.tables import say
from pipeline_lib.errors import EvergreenError, ServerLostError
from pipeline_lib.shown import show_log_lines

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
    prepare_streams()
    show_log_lines()
    raise_when_terminated()
    try:
        prepare_user()
        code = _code_of_command()
        if why := lost_output():
            say(f"error: the output cannot be written: {why}", to=sys.stderr)
            code = code or 1
        sys.exit(code)
    except CycloptsError as error:
        say(f"error: {' '.join(str(error).split())}", to=sys.stderr)
        sys.exit(2)
    except ServerLostError as error:
        say(f"error: {error}", to=sys.stderr)
        end_at_once(error.exit_code)
    except EvergreenError as error:
        say(f"error: {error}", to=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt as error:
        stop_listening()
        notes: list[str] = getattr(error, "__notes__", [])
        say("; ".join(["interrupted", *notes]), to=sys.stderr)
        if isinstance(error, Terminated) and error.server_lost:
            end_at_once(error.exit_code)
        sys.exit(exit_code(error))
    except Exception as error:
        if wants_traceback():
            raise
        say(f"error: {describe(error)}", to=sys.stderr)
        sys.exit(1)


def _code_of_command() -> int:
    try:
        return int(app(exit_on_error=False, print_error=False) or 0)
    except SystemExit as end:  # cyclopts ends the process by itself from version 4 on
        return end.code if isinstance(end.code, int) else 0


if __name__ == "__main__":
    main()
