"""Addresses and the secrets in them: what of a URL may be printed, stored, or given to a resolver.

A secret stands between `://` and the last `@`, in an option whose name says so, or in an option
whose value is an address or a list of options itself. Where a text can be read in two ways, the
reading that hides more is taken.
"""

import base64
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

HIDDEN = "***"
# One or more whole variables, and nothing else.
_VARIABLES = re.compile(r"(\$\{[A-Za-z_][A-Za-z0-9_]*\})+")
_AUTHORITY = re.compile(r"[^/?#]*")
# Their users are tokens and key ids as often as names.
_OF_TOKENS = frozenset({"http", "https", "ws", "wss", "s3", "s3a", "gs", "ftp", "git", "ssh"})
# What these name is a path, where an @ is a letter like any other.
_OF_PATHS = frozenset({"s3", "s3a", "gs", "file", "models", "runs", "sqlite"})

_KEY_OWNERS = (
    "api|access|account|app|auth|client|consumer|encrypt|encryption|master|private|secret|server"
    "|service|session|shared|signing|storage|subscription|user"
)
_SECRET_PARTS = re.compile(
    rf"passw|passphrase|passcode|passkey|pwd|secret|token|credential|signature|({_KEY_OWNERS})key"
)
_SECRET_NAMES = frozenset(
    {"pass", "pw", "pin", "psk", "key", "sig", "sas", "auth", "jwt", "bearer", "authorization"}
)
_SECRET_ENDS = ("pass", "authstring")
_PLACE_ENDS = ("file", "path", "dir", "folder", "location", "type", "timeout")

# `name=value` between the separators of URLs and ODBC strings, and `"name": value` of JSON.
_OPTION = re.compile(
    r"""(?<![\w.%+-])(?P<name>[\w.%+-]++)(?P<sign>\s*=\s*|["']\s*:\s*)"""
    r"""(?P<value>"[^"]*"|'[^']*'|\$\{\w+\}[^&;\s]*|[^&;,\s"']*)"""
)
# In prose only words that mean nothing else: `api_key=` may be a setting's name.
_IN_PROSE = re.compile(
    r"(?P<name>\b\w*(?:passw(?:or)?d|passphrase|pwd|secret_access_key))(?P<sign>=|[\"']\s*:\s*)"
    r"""(?P<value>"[^"]*"|'[^']*'|[^&;,\s"']+)""",
    re.IGNORECASE,
)
_HEADER = re.compile(r"(?i)\b(authorization[\"']?\s*[:=]\s*[\"']?(?:basic|bearer)\s+)[^\s\"',;]+")
# An address without its scheme, or with a slash too few, as a slip leaves it in a variable.
_SHORN = re.compile(
    r"""(?<![\w:/@.+$}*-])(?P<scheme>(?:[A-Za-z][\w+.-]*:/)?)[\w.+%-]+:(?!//)[^\s@'"]{1,300}@(?=[\w[])"""
)
# A password with blanks goes on to its @; a port does not.
_ADDRESS = re.compile(
    r"""(?<![\w+.-])[\w+.${}-]*+://(?:[^\s/@:]*:(?!(?:\d*|\$\{\w+\})(?:[/?#\s,;.)'"`\]]|$))[^\n@]{0,300}@)?\S*"""
)


@dataclass(frozen=True)
class ServerAddress:
    """An http address in two parts: `url` has no user, `credentials` are `user:password`."""

    url: str
    credentials: str = ""

    @classmethod
    def of(cls, address: str) -> "ServerAddress":
        """Take an address apart.

        Raises:
            ValueError: it is not one, or an unquoted `/`, `?`, `#` or `@` makes its host unclear.
        """
        parts = urlsplit(address)
        userinfo, _, place = parts.netloc.rpartition("@")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            raise ValueError("is not an http address")
        if "@" in userinfo or "@" in f"{parts.path}{parts.query}{parts.fragment}":
            raise ValueError("has an @ that is not before its host; write it as %40")
        return cls(parts._replace(netloc=place).geturl(), unquote(userinfo))

    def headers(self) -> dict[str, str]:
        """Return the header with the credentials, or none."""
        if not self.credentials:
            return {}
        token = base64.b64encode(self.credentials.encode()).decode()
        return {"Authorization": f"Basic {token}"}


def is_variable(value: str) -> bool:
    """Return whether a value is wholly variables of the environment.

    >>> is_variable("${DB_PASSWORD}"), is_variable("${DB_PASSWORD}1")
    (True, False)
    """
    return _VARIABLES.fullmatch(value) is not None


def is_secret_name(name: str) -> bool:
    """Return whether an option's name says that its value is a secret.

    >>> [is_secret_name(n) for n in ("sslpassword", "API-Key", "passfile", "sslmode")]
    [True, True, False, False]
    """
    plain = re.sub(r"[^a-z]", "", unquote(name).casefold())
    if plain.endswith(_PLACE_ENDS):
        return False
    is_word = plain in _SECRET_NAMES or plain.endswith(_SECRET_ENDS)
    return is_word or _SECRET_PARTS.search(plain) is not None


def open_secret(text: str) -> str | None:
    """Return the name of an option, in a text or an address, that holds a secret; or None.

    >>> open_secret("DRIVER=x;UID=sa;PWD=hunter2")
    'PWD'
    """
    for spelled in _decoded(text):
        for option in _OPTION.finditer(spelled):
            if is_secret_name(option["name"]) and not _is_hidden(option["value"].strip("\"'")):
                return option["name"]
    return None


def hides_secret(value: str) -> bool:
    """Return whether an option's value is itself an address with a user, or holds a secret.

    >>> hides_secret("http%3A%2F%2Fann%3Ahunter2%40proxy"), hides_secret("require")
    (True, False)
    """
    has_user = any("@" in spelled.partition("://")[2] for spelled in _decoded(value))
    return has_user or open_secret(value) is not None


def shown_address(address: str) -> str:
    """Return one address without its secrets; the host, the path and harmless options stay.

    >>> shown_address("postgresql+psycopg://ann:S3C/RET@host/db?sslmode=require&password=x")
    'postgresql+psycopg://ann:***@host/db?sslmode=require&password=***'
    >>> shown_address("https://token@host/api")
    'https://***@host/api'
    """
    scheme, sign, rest = address.partition("://") if "://" in address else ("", "", address)
    if sign:
        rest = _without_user(scheme.casefold(), rest)
    else:
        rest = _SHORN.sub(rf"\g<scheme>{HIDDEN}@", rest)
    place, mark, options = rest.partition("?")
    return f"{scheme}{sign}{_options_hidden(place)}{mark}{_options_hidden(options)}"


def link(address: str) -> str:
    """Return a page's address to click on: without its user, and otherwise as it is shown."""
    try:
        return shown_address(ServerAddress.of(address).url)
    except ValueError:
        return shown_address(address)


def without_secrets(text: str) -> str:
    """Return a text, as a message or a log line, without the secrets of the addresses in it."""
    if "://" in text:
        text = _ADDRESS.sub(lambda found: shown_address(found[0]), text)
    if "@" in text:
        text = _SHORN.sub(rf"\g<scheme>{HIDDEN}@", text)
    return _HEADER.sub(rf"\g<1>{HIDDEN}", _IN_PROSE.sub(_hidden, text))


def _without_user(scheme: str, rest: str) -> str:
    userinfo, at, place = rest.rpartition("@")
    authority = _AUTHORITY.match(rest)
    assert authority is not None
    kind = scheme.partition("+")[0]
    is_path = kind in _OF_PATHS and not re.search(r"[@:]", authority[0])
    if not at or is_path:
        return rest
    user, colon, password = userinfo.partition(":")
    if user == HIDDEN and not colon:
        return rest
    if scheme in _OF_TOKENS:
        return rest if _is_hidden(user) and _is_hidden(password) else f"{HIDDEN}@{place}"
    if re.search(r"[/?#@\s]", user) or ":" in unquote(user):
        return f"{HIDDEN}@{place}"
    return rest if not colon or _is_hidden(password) else f"{user}:{HIDDEN}@{place}"


def _options_hidden(text: str) -> str:
    pieces = re.split(r"([&;])", text)
    return "".join(_option_hidden(piece) for piece in pieces)


def _option_hidden(option: str) -> str:
    name, sign, value = option.partition("=")
    if not sign:
        return option
    if is_secret_name(name):
        return option if _is_hidden(value) else f"{name}={HIDDEN}"
    return f"{name}={HIDDEN}" if hides_secret(value) else option


def _is_hidden(value: str) -> bool:
    return value in ("", HIDDEN) or is_variable(value)


def _hidden(option: re.Match[str]) -> str:
    value = option["value"].strip("\"'")
    return option[0] if _is_hidden(value) else f"{option['name']}{option['sign']}{HIDDEN}"


def _decoded(text: str) -> Iterator[str]:
    """Yield a text as it is, and as it reads once and twice unquoted."""
    for _ in range(3):
        yield text
        if (plain := unquote(text)) == text:
            return
        text = plain
