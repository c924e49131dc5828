"""`evergreen run`: the retrain flow in this process, reported in a few lines."""

import logging
import os
import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from datetime import date
from importlib import import_module
from pathlib import Path
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Annotated, TextIO

from cyclopts import Parameter

from evergreen.commands.new import shortest
from evergreen.config_argument import chosen_configs
from evergreen.environment import prepare_prefect
from evergreen.every_config import Ended, conclude, turn
from evergreen.interruption import end_at_once, say_how_to_go_on
from evergreen.tables import print_json, say
from evergreen.waiting import PROGRESS_LOGGER, waiting_is_logged
from pipeline_lib.config import load_config
from pipeline_lib.errors import DataError, EvergreenError, ServerError, ServerLostError
from pipeline_lib.home import find_home, project_of
from pipeline_lib.interruption import heard, raise_if_heard
from pipeline_lib.wording import first_line

if TYPE_CHECKING:
    from flows.attempt import Seen
    from flows.outcome import Outcome

_BAR_WIDTH = 30


@dataclass(frozen=True)
class _Options:
    """What a command gives to each run that it makes."""

    assignments: tuple[str, ...]
    force: bool
    promote: bool | None
    resume: bool
    run_date: date | None


def run(
    config: Path | None = None,
    *,
    all_: Annotated[bool, Parameter(name="--all", negative=())] = False,
    set_: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set",
            negative=(),
            help="KEY=VALUE, such as training.epochs=50; may be given several times",
        ),
    ] = (),
    force: Annotated[bool, Parameter(negative=())] = False,
    promote: bool | None = None,
    resume: bool = True,
    run_date: date | None = None,
    json_: Annotated[bool, Parameter(name="--json", negative=())] = False,
) -> int:
    """Retrain a dataset now, and promote the model if it is better.

    Args:
        config: the dataset's YAML file, or the name of one in configs/.
        all_: retrain with every config in configs/ of the project, in alphabetical order; one that
            fails does not stop the others, and the exit code is that of the worst.
        set_: a value that this run sets differently; may be given several times.
        force: train even if rows and config are those of the last decision.
        promote: let the model become champion although the run would be an experiment, there is no
            champion to compare with, or the champion was trained on newer rows; with --no-promote
            the run is an experiment.
        resume: resume an interrupted training of the same rows, config and code.
        run_date: the date of the run, such as 2026-11-24; default: today (UTC).
        json_: print the outcome as JSON, and nothing else.
    """
    configs = chosen_configs(config, every=all_)
    options = _Options(set_, force, promote, resume, run_date)
    # A typo is reported before anything heavy starts.
    broken = _broken_configs(configs, set_, every=all_)
    if len(broken) == len(configs):
        return conclude(list(broken.values()), json_=json_)
    home = find_home(project_of(configs[0]))
    prepare_prefect(home)
    if not json_:
        say(f"retraining {'all configs of the project' if all_ else configs[0]}")
    from evergreen.prefect_server import require_server, server_url, start_own_server
    from tasks.cancellation import prefect_hears_as_we_do

    import_module("flows.retrain")  # now: Prefect sets up its loggers, ours are added after it
    logging.raiseExceptions = False  # Prefect's handler would print each line that it cannot send
    how = "run the same command again" if resume else "run it again without --no-resume"
    say_how_to_go_on(f"{how} to go on")
    with (
        prefect_hears_as_we_do(),
        nullcontext() if json_ else _progress_shown(),
        waiting_is_logged(),
    ):
        if server_url() is None:
            start_own_server(home)
        else:
            require_server()
        if all_:
            return _every(configs, broken, options, json_=json_)
        _only(configs[0], options, json_=json_)
    return 0


def _broken_configs(
    configs: list[Path], assignments: tuple[str, ...], *, every: bool
) -> dict[Path, Ended]:
    """Return how the turn of each config ended that is wrong; of a single one it is raised."""

    def load(path: Path) -> Ended:
        load_config(path, assignments=assignments)
        return Ended(path, 0, "", "", {})

    if not every:
        load(configs[0])
        return {}
    ended = (turn(path, load) for path in configs)
    return {each.config: each for each in ended if each.exit_code}


def _only(config: Path, options: _Options, *, json_: bool) -> None:
    """Make the one run of the command, and print how it ended."""
    from flows.attempt import seen

    with (
        seen() as seen_run,
        _end_without_goodbyes(seen_run),
        _failure_in_json() if json_ else nullcontext(),
    ):
        outcome = _retrained(config, options, seen_run)
        if json_:
            print_json(asdict(outcome))
        else:
            _show(outcome, config, options.assignments)


def _every(
    configs: list[Path], broken: dict[Path, Ended], options: _Options, *, json_: bool
) -> int:
    """Make a run with each config that can be read; without a server the others wait."""
    from flows.attempt import seen

    lost = False

    def retrained(config: Path) -> Ended:
        nonlocal lost
        if lost:
            raise ServerError("not run: the Prefect server has gone; run the same command again")
        if not json_:
            say(f"\n{config}")
        with seen() as seen_run:
            try:
                outcome = _retrained(config, options, seen_run)
            finally:
                lost = seen_run.server_lost
        if not json_:
            _show(outcome, config, options.assignments)
        facts = {k: v for k, v in asdict(outcome).items() if k not in ("decision", "reason")}
        return Ended(config, 0, outcome.decision, outcome.reason, facts)

    ended = [broken.get(config) or turn(config, retrained) for config in configs]
    code = conclude(ended, json_=json_)
    if lost:
        end_at_once(code)
    return code


def _retrained(config: Path, options: _Options, seen_run: "Seen") -> "Outcome":
    """Run the flow in this process; return its outcome.

    Raises:
        EvergreenError: the run failed, or the server ended it.
    """
    from flows.retrain import retrain

    with _said_if_the_server_went(seen_run):
        retrain(
            str(config),
            assignments=options.assignments,
            force=options.force,
            promote=options.promote is True,
            experiment=options.promote is False,
            run_date=options.run_date,
            resume=options.resume,
        )
    raise_if_heard()  # Prefect's engine keeps what is raised after a flow's last line
    if seen_run.outcome is None:
        raise ServerError("the Prefect server ended this run before it began: nothing was done")
    return seen_run.outcome


@contextmanager
def _end_without_goodbyes(seen_run: "Seen") -> Generator[None]:
    """End at once where Prefect has gone: its client would say goodbye to it for minutes."""
    try:
        yield
    except EvergreenError as error:
        if seen_run.server_lost:
            say(f"error: {error}", to=sys.stderr)
            end_at_once(error.exit_code)
        raise
    if seen_run.server_lost:
        end_at_once(0)


@contextmanager
def _failure_in_json() -> Generator[None]:
    """Print how a run ended that made no decision; the error itself is raised."""
    try:
        yield
    except EvergreenError as error:
        decision = "stopped" if isinstance(error, DataError) else "failed"
        print_json({"decision": decision, "reason": first_line(error), "detail": str(error)})
        raise


class _Terminal(logging.StreamHandler[TextIO]):
    """Prints lines and, on a terminal, a bar below the last one."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line, or draw the bar again."""
        share = getattr(record, "share", None)
        self.clear()
        if share is None:
            super().emit(record)
        elif self.stream.isatty():
            self.stream.write(_bar(share, record.getMessage(), get_terminal_size().columns))
            self.flush()

    def clear(self) -> None:
        """Leave the bar's line empty for what is printed next."""
        if self.stream.isatty():
            self.stream.write("\r\033[K")
            self.flush()


def _bar(share: float, text: str, n_columns: int) -> str:
    """Return the bar's line; one that is wrapped could not be cleared."""
    indent, text = " " * 10, f" {share:4.0%}  {text}"
    width = max(0, min(_BAR_WIDTH, n_columns - 1 - len(indent) - len(text)))
    full = round(share * width)
    return f"{indent}{'━' * full}{' ' * (width - full)}{text}"[: n_columns - 1]


@contextmanager
def _said_if_the_server_went(seen_run: "Seen") -> Generator[None]:
    """Explain it when the engine fails because its server has gone.

    This process knows how the run ended: a decision stands, and an error of the run itself is
    reported rather than the lost server.
    """
    from evergreen.prefect_server import require_own_server, require_server, server_url

    try:
        yield
    except Exception as error:
        if heard() is not None:  # what a signal has disturbed is no server's fault
            raise
        own = _own_behind(error)
        seen_run.server_lost = seen_run.server_lost or own is not error
        if seen_run.outcome is not None:
            text = "report    Prefect does not know how this run ended; the next run reports it"
            logging.getLogger(PROGRESS_LOGGER).info(text)
            return
        if own is error:
            raise
        if own is not None:
            raise own from None
        require = require_own_server if server_url() is None else require_server
        kept = "What was done is kept: run the same command again to go on."
        try:
            require()
        except ServerError as gone:
            raise ServerLostError(f"{gone} {kept}") from error
        if type(error).__module__.startswith("httpx"):
            lost = f"the Prefect server does not answer ({first_line(error)})."
            raise ServerLostError(f"{lost} {kept}") from error
        raise


def _own_behind(error: BaseException | None) -> EvergreenError | None:
    """Return what ended the run, behind an error of the engine that could not report it."""
    while error is not None and not isinstance(error, EvergreenError):
        error = error.__cause__ or error.__context__
    return error


@contextmanager
def _progress_shown() -> Generator[None]:
    """Print what tasks log and what the library warns of, and nothing of Prefect's engine."""
    project = str(Path(__file__).resolve().parents[2])
    handler = _Terminal(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S"))
    handler.addFilter(lambda record: _is_ours(record, project))
    for name in ("prefect.flow_runs", "prefect.task_runs", "pipeline_lib", "evergreen.progress"):
        logging.getLogger(name).addHandler(handler)
    bar = logging.getLogger("evergreen.progress")
    bar.setLevel(logging.INFO)
    bar.propagate = False
    try:
        yield
    finally:
        handler.clear()


def _is_ours(record: logging.LogRecord, project: str) -> bool:
    path = Path(record.pathname)
    rooms = ("evergreen", "flows", "tasks", "pipeline_lib")
    return path.is_relative_to(project) and path.relative_to(project).parts[0] in rooms


def _show(outcome: "Outcome", config: Path, assignments: tuple[str, ...]) -> None:
    version = f" (version {outcome.version})" if outcome.version else ""
    say(f"\n{outcome.decision}{version}: {outcome.reason}")
    if outcome.decision == "skipped":
        again = [*(part for text in assignments for part in ("--set", text)), "--force"]
        say(f"Train all the same: evergreen run {shlex.join([str(config), *again])}")
    if outcome.report:
        say(f"  report      {shortest(Path(outcome.report))}")
    for name, url in outcome.links.items():
        say(f"  {name:<11} {url}")
    if "PREFECT_API_URL" not in os.environ:
        say('  (start both servers to open the links: README.md, "Look at it")')
