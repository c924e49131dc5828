"""Where Prefect keeps its state and how loud it is, set before it is imported.

A server that PREFECT_API_URL names is used; else an ephemeral one on the database under the home,
the same that `prefect server start` finds there later.
"""

import os
from pathlib import Path

from pipeline_lib.storage import current_project, evergreen_home, in_project, writable_folder


def prepare_prefect(project: Path | None = None) -> None:
    """Set Prefect's environment for this process; what the user has set stays.

    Args:
        project: whose home is used; the working directory's project without it.

    Raises:
        StorageError: the home cannot be written.
    """
    with in_project(project or current_project()):
        home = writable_folder(evergreen_home())
    defaults = {
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_LOGGING_EXTRA_LOGGERS": "pipeline_lib",  # its warnings stand in the flow run's log
        "PREFECT_LOGGING_INTERNAL_LEVEL": "CRITICAL",  # a server that has gone is told once, by us
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the command prints its own lines
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
