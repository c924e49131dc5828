"""What the run form offers."""

from pathlib import Path
from typing import Annotated

from prefect.runtime import deployment
from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from pipeline_lib.config.assignments import Assignment
from pipeline_lib.errors import UsageError
from pipeline_lib.storage import project_root


class ConfigChoice:
    """Makes a text field a choice of the files in `configs/`, as they are when the form is built.

    A run that is started in Python or by the command may name any other file.
    """

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the choices to the field's schema."""
        root = project_root()
        if not (root / "prefect.yaml").is_file():
            root = project_root(Path(__file__).parent)
        files = sorted(path.relative_to(root).as_posix() for path in root.glob("configs/*.yaml"))
        return {**handler(core_schema), "enum": files}


ConfigPath = Annotated[str, ConfigChoice()]


def refuse_strange_paths(config: str, assignments: tuple[str, ...]) -> None:
    """Refuse files from outside the project when a server started the run.

    Who can fill a form may not read any file of the worker's machine; who types a command may
    already.

    Raises:
        UsageError: the config lies outside, or an assignment names a source or a rule.
    """
    if deployment.id is None:
        return
    root = project_root()
    if not (root / config).resolve().is_relative_to(root):
        raise UsageError(f"the config {config!r} lies outside the project")
    # `data` names files and databases, rules of `validation` name functions to import.
    refused = ("data", "validation")
    if strange := [t for t in assignments if Assignment.parse(t).parts[0].startswith(refused)]:
        raise UsageError(
            f"{strange[0][:80]!r}: `data` and `validation` are set in the config, not in a form"
        )
