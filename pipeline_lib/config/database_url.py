"""What a database's URL in a config may hold: no secret, and nothing that hides one.

A config is printed, logged, stored by MLflow and shown in forms. A secret stands in an environment
variable, and `${NAME}` in its place.
"""

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pipeline_lib.addresses import hides_secret, is_secret_name, is_variable, open_secret

if TYPE_CHECKING:
    from sqlalchemy import URL

_NAME = r"\$\{[A-Za-z_][A-Za-z0-9_]*\}"
_INSTEAD = "put it into an environment variable and write ${NAME} here"
STRAY_AT = "has an @ behind the one before its host; in a user's name or a password write %40"
_NO_URL = "is not a database url, such as driver://user@host/database"


def problem_of(url: str) -> str | None:
    """Return what is wrong with a database's URL, without repeating it; None if nothing is.

    >>> problem_of("postgresql+psycopg://ann:${PASSWORD}@host/db")
    >>> problem_of("postgresql+psycopg://ann:${A}hunter2@host/db")
    'holds a password; put it into an environment variable and write ${NAME} here'
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    if not url.isprintable():
        return "holds a line break or another control character"
    if "${" in re.sub(_NAME, "", url):
        return "holds a ${…} that is not the name of an environment variable"
    if re.fullmatch(_NAME, url):
        return None
    # Digits stand for variables: they may be part of a driver's name, a host or a port.
    digits = _digits_absent_from(url)
    plain = re.sub(_NAME, digits, url)
    if plain.startswith(digits) and "://" not in plain:  # a variable, and what follows it
        plain = f"x://x{plain.removeprefix(digits)}"
    try:
        parts = make_url(plain)
    except (ArgumentError, ValueError):
        return _NO_URL if re.search(r"[:@=]", plain) else None  # reading it will say so
    return _problem_of_place(parts, digits) or _problem_of_options(parts, digits, url)


def _problem_of_place(parts: "URL", digits: str) -> str | None:
    password = (parts.password or "").replace(digits, "${X}")
    if (password and not is_variable(password)) or ":" in (parts.username or ""):
        return f"holds a password; {_INSTEAD}"
    return STRAY_AT if has_stray_at(parts) else None


def has_stray_at(parts: "URL") -> bool:
    """Return whether an @ stands behind the one before the host: it may end a password.

    SQLAlchemy would give the rest of that password to the resolver, as a part of the host's name.
    """
    is_file = parts.drivername.startswith("sqlite")
    return not is_file and "@" in f"{parts.host or ''}{parts.database or ''}"


def _problem_of_options(parts: "URL", digits: str, url: str) -> str | None:
    for name, value in _options(parts.query):
        given = value.replace(digits, "${X}")
        if (is_secret_name(name) and not is_variable(given)) or hides_secret(given):
            return f"holds a secret in its option {name!r}; {_INSTEAD}"
    # SQLAlchemy reads `;PWD=…` as a part of the database's name.
    if name := open_secret(url):
        return f"holds a secret in its option {name!r}; {_INSTEAD}"
    return None


def _options(query: Mapping[str, str | tuple[str, ...]]) -> Iterator[tuple[str, str]]:
    for name, value in query.items():
        for one in (value,) if isinstance(value, str) else value:
            yield name, one


def _digits_absent_from(url: str) -> str:
    digits = "1"
    while digits in url:
        digits += "1"
    return digits
