"""One map of `.evergreen/`: where all state of a project lies.

A command or a flow makes a `Home` once, with `find_home`, and hands it on. Here is decided what
the files are called; what they hold is decided by the packages that write them.
"""

import contextlib
import functools
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

from pipeline_lib.errors import StorageError, UsageError
from pipeline_lib.permissions import close_to_others, make_private, umask_of
from pipeline_lib.storage.folders import explained, writable_folder

NAME_PATTERN = r"[a-z][a-z0-9_\-]{0,62}"
_MARKER = "prefect.yaml"
_RUN_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_\-]{0,127}")
# SQLAlchemy ends a database's path at '?'; MLflow 3.17 decodes plain paths, so that it reads the
# files of `a%20b` from `a b`.
_NO_ADDRESS = re.compile(r"\?|%[0-9A-Fa-f]{2}")
_logger = logging.getLogger(__name__)


def project_root(start: Path | None = None) -> Path:
    """Return the nearest folder at or above `start` that holds a `prefect.yaml`.

    `start` is the working directory unless given, and is returned itself where none does.
    """
    here = (start or Path.cwd()).resolve()
    for folder in (here, *here.parents):
        if (folder / _MARKER).is_file():
            return folder
    return here


def project_of(config: str | Path) -> Path:
    """Return the project that a config belongs to; symbolic links are followed.

    It is the nearest folder at or above the config that holds a `prefect.yaml`. Where none does
    it is the config's own folder, or the one around it if that is `configs`.
    """
    return project_at(Path(config).resolve().parent)


def find_home(project: Path | None = None) -> "Home":
    """Return the home that is in use, whether it has been made or not.

    It is the folder that `EVERGREEN_HOME` names, else `.evergreen` in the project.

    Args:
        project: the folder of the project; that of the working directory without it.

    Raises:
        UsageError: EVERGREEN_HOME begins with the `~` of a user whom this machine does not know.
    """
    if chosen := os.environ.get("EVERGREEN_HOME"):
        try:
            return Home(Path(chosen).expanduser().resolve())
        except RuntimeError:
            raise UsageError(
                f"EVERGREEN_HOME={chosen!r}: this user has no known home; write the whole path"
            ) from None
    return Home(((project or project_at(Path.cwd().resolve())) / ".evergreen").resolve())


def project_at(folder: Path) -> Path:
    """Return the project that a folder belongs to; see `project_of`."""
    root = project_root(folder)
    is_marked = (root / _MARKER).is_file()
    return root.parent if root.name == "configs" and not is_marked else root


@dataclass(frozen=True)
class Home:
    """The folder of all state; `root` is absolute, without links."""

    root: Path

    @property
    def mlflow_db(self) -> Path:
        """MLflow's embedded database."""
        return self.root / "mlflow.db"

    @property
    def artifacts(self) -> Path:
        """Artifacts of MLflow's embedded store, by dataset."""
        return self.root / "artifacts"

    @property
    def prefect(self) -> Path:
        """The state of Prefect and of its embedded server."""
        return self.root / "prefect"

    @property
    def scratch(self) -> Path:
        """Folders in use for a moment, each locked by its owner."""
        return self.root / "scratch"

    @property
    def compiled(self) -> Path:
        """Compiled networks: code, and this user's alone."""
        return self.root / "compiled"

    @property
    def errors(self) -> Path:
        """Tracebacks of unexpected errors."""
        return self.root / "errors"

    @property
    def record(self) -> Path:
        """The file that names where the home lay when its databases were last in use."""
        return self.root / "home.json"

    @property
    def lock(self) -> Path:
        """Held while a database, or the record, is made or changed."""
        return self.root / ".home.lock"

    def dataset(self, name: str) -> "DatasetFolder":
        """Return the map of a dataset's files.

        Raises:
            UsageError: `name` is not a valid name, so the folder could lie anywhere.
        """
        if not re.fullmatch(NAME_PATTERN, name):
            raise UsageError(
                f"{name[:80]!r} is not a valid name of a dataset: lower case, digits, _ and -"
            )
        return DatasetFolder(self, name)

    def datasets_with(self, part: str) -> "tuple[DatasetFolder, ...]":
        """Return the datasets that have a file or folder of this name, by name."""
        names = sorted(path.parent.name for path in self.root.glob(f"datasets/*/{part}"))
        return tuple(
            DatasetFolder(self, name) for name in names if re.fullmatch(NAME_PATTERN, name)
        )

    def run(self, key: str) -> "RunFolder":
        """Return the map of the files of the runs of one key.

        Raises:
            StorageError: `key` is not a valid run key, so the folder could lie anywhere.
        """
        if not is_run_key(key):
            raise StorageError(f"{key[:80]!r} is not a valid run key: letters, digits, _ and -")
        return RunFolder(self, key)

    def writable(self, folder: Path) -> Path:
        """Create a folder of the home, and the home, and prove that it can be written.

        A home that is made for it is logged, and so is one that was open to other users and is
        closed.

        Raises:
            StorageError: it cannot be created or written, or others may put files into the home;
                the message names what to change.
        """
        assert folder.is_relative_to(self.root), f"{folder} is outside {self.root}"
        if found := _NO_ADDRESS.search(str(self.root)):
            raise StorageError(
                f"{self.root}: {found[0]!r} has another meaning in an address, so databases and "
                "MLflow would look in another folder. Rename it, or set EVERGREEN_HOME to another "
                "folder."
            )
        with explained(folder):
            self._make()
        return writable_folder(folder, mode=0o770)

    def enter(self) -> None:
        """Make the home, and let all that this process makes from here on be as closed as it is.

        The umask is the process's: a command or a flow calls this, never a library.

        Raises:
            StorageError: it cannot be made or written, or others may put files into it.
        """
        self.writable(self.root)
        os.umask(umask_of(self.root))

    def _make(self) -> None:
        if self.root.is_dir():
            if note := close_to_others(self.root):
                _warn_once(note)
            return
        with contextlib.suppress(FileExistsError):  # another process was faster
            make_private(self.root)
            _logger.warning("home made: %s%s", self.root, self._another())

    def _another(self) -> str:
        """Return what to do if the state was meant to be the working directory's."""
        here = (project_at(Path.cwd().resolve()) / ".evergreen").resolve()
        is_chosen = bool(os.environ.get("EVERGREEN_HOME"))
        if is_chosen or here == self.root or not (here / "datasets").is_dir():
            return ""
        return f" ({here} belongs to another project; EVERGREEN_HOME={here} would use it)"


@dataclass(frozen=True)
class DatasetFolder:
    """The files of one dataset; see `Home.dataset`."""

    home: Home
    name: str

    @property
    def folder(self) -> Path:
        """The folder of all of them but the quarantine."""
        return self.home.root / "datasets" / self.name

    @property
    def lock(self) -> Path:
        """Held by the run of the dataset."""
        return self.folder / ".lock"

    @property
    def attempts(self) -> Path:
        """A file for each run that has begun, locked while its process lives."""
        return self.folder / "attempts"

    @property
    def snapshots(self) -> Path:
        """A folder for each content of the source."""
        return self.folder / "snapshots"

    @property
    def splits(self) -> Path:
        """A folder for each assignment of a snapshot's rows."""
        return self.folder / "splits"

    @property
    def encoded(self) -> Path:
        """A folder for each encoding of split rows."""
        return self.folder / "encoded"

    @property
    def segments(self) -> Path:
        """A folder for each large part of the source, numbered."""
        return self.folder / "segments"

    @property
    def ledger(self) -> Path:
        """Which code is which category."""
        return self.folder / "ledger"

    @property
    def journal(self) -> Path:
        """A line for each run: what was decided."""
        return self.folder / "decisions.jsonl"

    @property
    def last_night(self) -> Path:
        """What is kept of the last snapshot that kept the contract."""
        return self.folder / "last_night.json"

    @property
    def nights(self) -> Path:
        """A line for each snapshot that kept the contract: how far it drifted."""
        return self.folder / "nights.jsonl"

    @property
    def unrecorded(self) -> Path:
        """Lines that MLflow has not taken yet."""
        return self.folder / "unrecorded.jsonl"

    @property
    def quarantine(self) -> Path:
        """A file for each run with rows that break the contract."""
        return self.home.root / "quarantine" / self.name


@dataclass(frozen=True)
class RunFolder:
    """The files of the runs of one key; see `Home.run`."""

    home: Home
    key: str

    @property
    def folder(self) -> Path:
        """The folder of all of them; checkpoints lie in it."""
        return self.home.root / "runs" / self.key

    @property
    def model(self) -> Path:
        """The fitted model."""
        return self.folder / "model"

    @property
    def plan(self) -> Path:
        """What `training.budget_s` buys; see `pipeline_lib.fitting.budget`."""
        return self.folder / "plan.json"

    @property
    def baselines(self) -> Path:
        """Members of the model that are baselines: a folder for each, none of them served."""
        return self.folder / "baselines"

    @property
    def epochs(self) -> Path:
        """A line for each epoch."""
        return self.folder / "epochs.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Event files of TensorBoard."""
        return self.folder / "tensorboard"

    @property
    def predictions(self) -> Path:
        """The test rows with what the model predicts of them."""
        return self.folder / "test_predictions.parquet"

    @property
    def report(self) -> Path:
        """The page of the run."""
        return self.folder / "report.md"


def is_run_key(text: str) -> bool:
    """Return whether a text can be a run key: it names a folder, and leads nowhere else."""
    return _RUN_KEY.fullmatch(text) is not None


@functools.cache
def _warn_once(text: str) -> None:
    _logger.warning("%s", text)
