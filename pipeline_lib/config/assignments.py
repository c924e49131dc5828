"""`KEY=VALUE`, as `--set` has it: which keys a dotted name means, and where the value begins.

A name that has a dot itself is taken where the config has it already, the longest first, or stands
in quotes: `columns."hours.per.week".kind=number`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline_lib.addresses import without_secrets
from pipeline_lib.config.yaml_text import YamlTextError, read_yaml_text
from pipeline_lib.errors import ConfigError, ConfigProblem
from pipeline_lib.wording import did_you_mean

_QUOTED = r"""\s*(?:"(?P<double>[^"]*)"|'(?P<single>[^']*)')\s*"""
_PART = re.compile(rf"""{_QUOTED}|\s*(?P<plain>[^.="'\s][^.=]*)""")
_MAX_KEY = 1000  # characters
_MAX_PARTS = 40
_MAX_SHOWN = 200
_HOW = (
    "write KEY=VALUE, as in training.epochs=50; a name with a dot stands in quotes, as in "
    'columns."hours.per.week".kind=number'
)


@dataclass(frozen=True)
class Assignment:
    """The parts of a key, which of them stood in quotes, and the value's YAML."""

    parts: tuple[str, ...]
    quoted: tuple[bool, ...]
    text: str

    @classmethod
    def parse(cls, assignment: str) -> "Assignment":
        """Take an assignment apart.

        Raises:
            ConfigError: it has no key, no `=`, or an empty part.
        """
        parts: list[str] = []
        quoted: list[bool] = []
        place = 0
        if "=" not in assignment[:_MAX_KEY]:
            raise ConfigError([ConfigProblem("--set", assignment[:_MAX_SHOWN], _HOW)])
        while (match := _PART.match(assignment, place)) is not None:
            plain = match["plain"]
            parts.append(match[str(match.lastgroup)] if plain is None else plain.strip())
            quoted.append(plain is None)
            place = match.end()
            if not parts[-1] or assignment[place : place + 1] != ".":
                break
            place += 1
        if (
            not 0 < len(parts) <= _MAX_PARTS
            or not parts[-1]
            or assignment[place : place + 1] != "="
        ):
            shown = without_secrets(assignment)[:_MAX_SHOWN]
            raise ConfigError([ConfigProblem("--set", shown, _HOW)])
        return cls(tuple(parts), tuple(quoted), assignment[place + 1 :])

    @property
    def key(self) -> str:
        """The key, dotted."""
        return ".".join(self.parts)

    def value(self) -> object:
        """Return the value as `read_yaml_text` has it.

        Raises:
            ConfigError: it is no YAML, or too much of it.
        """
        try:
            return read_yaml_text(self.text).plain()
        except YamlTextError as error:
            shown = repr(self.text[:_MAX_SHOWN]) + ("…" if len(self.text) > _MAX_SHOWN else "")
            problem = ConfigProblem("--set", self.key, f"{shown} is not valid YAML: {error}")
            raise ConfigError([problem]) from None

    def path_in(self, tree: Mapping[str, object]) -> list[str]:
        """Return the keys from the top of a config to the value.

        Raises:
            ConfigError: a column is meant that is not there, and its name may have a dot.
        """
        path: list[str] = []
        node: object = tree
        start = 0
        while start < len(self.parts):
            known: Mapping[str, object] = node if isinstance(node, Mapping) else {}
            end = self._end_of_name(start, known)
            name = ".".join(self.parts[start:end])
            if path == ["columns"] and name not in known and end + 1 < len(self.parts):
                raise _no_column(self.parts[1:-1], known)
            path.append(name)
            node, start = known.get(name), end
        return path

    def _end_of_name(self, start: int, known: Mapping[str, object]) -> int:
        """Return where the longest name that is known ends; an unknown one has one part."""
        end = start + 1
        if self.quoted[start]:
            return end
        while end < len(self.parts) and not self.quoted[end]:
            end += 1
        while end > start + 1 and ".".join(self.parts[start:end]) not in known:
            end -= 1
        return end


def _no_column(parts: Sequence[str], known: Mapping[str, object]) -> ConfigError:
    name = ".".join(parts)
    near = did_you_mean(name, known)
    rule = f"there is no such column{near or '.'} A new name with a dot stands in quotes: "
    return ConfigError([ConfigProblem("--set", f"columns.{name}", f'{rule}columns."{name}"')])
