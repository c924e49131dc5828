"""The commands, and what a mistake in one comes to."""

import sys

from cyclopts import App, CycloptsError

from evergreen.environment import prepare_user
from evergreen.failures import describe, wants_traceback
from evergreen.interruption import end_at_once
from evergreen.streams import lost_output
from evergreen.tables import say
from evergreen.versions import versions
from pipeline_lib.errors import EvergreenError, ServerLostError
from pipeline_lib.interruption import heard
from pipeline_lib.shown import show_log_lines

app = App(
    name="evergreen",
    help="Keep models of tables fresh: retrain on a schedule, promote only what is better.",
    version=versions,
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,  # it would end without a message
)
for _name, _help in {
    "run": "Retrain a dataset now, and promote the model if it is better.",
    "new": "Profile a table and write a config for it.",
    "check": "Check a config, and that its table keeps the contract.",
    "codes": "Show which code is which category.",
    "compare": "Compare the latest runs of a dataset.",
    "deploy": "Put the flows and their schedules on the Prefect server.",
    "doctor": "Check that this machine, the databases and the servers are in order.",
}.items():
    app.command(f"evergreen.commands.{_name}:{_name}", name=_name, help=_help)


def run_command() -> int:
    """Run the command and return its exit code; a mistake gets one message, never a traceback."""
    show_log_lines()
    try:
        prepare_user()
        code = _code_of_command()
        if why := lost_output():
            say(f"error: the output cannot be written: {why}", to=sys.stderr)
            return code or 1
    except CycloptsError as error:
        say(f"error: {' '.join(str(error).split())}", to=sys.stderr)
        return 2
    except Exception as error:
        if heard() is not None:  # what a signal has disturbed is no mistake
            raise
        if isinstance(error, EvergreenError):
            say(f"error: {error}", to=sys.stderr)
            if isinstance(error, ServerLostError):
                end_at_once(error.exit_code)
            return error.exit_code
        if wants_traceback():
            raise
        say(f"error: {describe(error)}", to=sys.stderr)
        return 1
    return code


def _code_of_command() -> int:
    try:
        return int(app(exit_on_error=False, print_error=False) or 0)
    except SystemExit as end:  # cyclopts ends the process by itself from version 4 on
        return end.code if isinstance(end.code, int) else 0
