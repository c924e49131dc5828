"""What the run form offers."""

from pathlib import Path
from typing import Annotated

from pydantic import GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from pipeline_lib.storage import project_root


class ConfigChoice:
    """Makes a text field a choice of the files in `configs/`, as they are when the form is built.

    A run that is started in Python or by the command may name any other file.
    """

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add the choices to the field's schema."""
        root = project_root(Path(__file__).parent)
        files = sorted(path.relative_to(root).as_posix() for path in root.glob("configs/*.yaml"))
        return {**handler(core_schema), "enum": files}


ConfigPath = Annotated[str, ConfigChoice()]
