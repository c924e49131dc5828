"""What the run form offers, and which of its values a run accepts."""

from pathlib import Path
from typing import Annotated

from prefect.runtime import deployment
from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from pipeline_lib.config import Overrides, PipelineConfig, load_config
from pipeline_lib.config.form import form_config, refuse_assignments
from pipeline_lib.config.load import load_plain
from pipeline_lib.config.project_configs import project_configs
from pipeline_lib.errors import UsageError
from pipeline_lib.home import project_root


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
        known = [path for path in project_configs(root) if path.suffix == ".yaml"]
        files = [path.relative_to(root).as_posix() for path in known]
        return {**handler(core_schema), "enum": files}


ConfigPath = Annotated[str, ConfigChoice()]


def settings_of(
    config: str, overrides: Overrides, assignments: tuple[str, ...]
) -> tuple[PipelineConfig, PipelineConfig | None]:
    """Return the config with the run's own values, and without them if it is valid so.

    Raises:
        UsageError: as `refuse_strange_paths`.
        ConfigError: there is no such config, or a value breaks a rule.
    """
    refuse_strange_paths(config, assignments)
    return load_config(config, overrides, assignments=assignments), load_plain(config)


def refuse_strange_paths(config: str, assignments: tuple[str, ...]) -> None:
    """Refuse what a form may not set, if a server started the run.

    A form may not read any file of the worker's machine, nor write to another dataset; a command
    may: its user has these rights already.

    Raises:
        UsageError: the config is none of `configs/*.yaml`, or an assignment sets what a form may
            not.
        ConfigError: there is no such config, or an assignment cannot be read.
    """
    if deployment.id is None:
        return
    root = project_root()
    if form_config(config, root).resolve() != Path(config).resolve():
        raise UsageError(f"the run works in {Path.cwd()}, and not in the project's folder {root}")
    refuse_assignments(assignments)
