"""Does a server answer without credentials: to other users of its machine, and to web pages."""

import json
import urllib.request
from http.client import HTTPException
from ipaddress import ip_address
from urllib.parse import urlsplit, urlunsplit

from pipeline_lib.asking import ask

_TIMEOUT_S = 15
# What takes credentials to read; health is open to all by design.
PREFECT_PATH = "/admin/version"
MLFLOW_PATH = "/api/2.0/mlflow/experiments/search?max_results=1"


def answers_strangers(address: str, path: str) -> bool:
    """Return whether a server gives its data to a call without credentials.

    Args:
        address: of the server; a name and password in it are not sent.
        path: of the call, below the address.

    Returns:
        Whether it answered with JSON; False for one that refuses, redirects to a page or is away.
    """
    parts = urlsplit(address)
    place = parts.netloc.rpartition("@")[2]
    url = urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", "")) + path
    request = urllib.request.Request(url, headers={"Accept": "application/json"})  # noqa: S310
    try:
        # The user's own setting, and http or https by the test of the caller.
        json.loads(ask(request, within_s=_TIMEOUT_S))
    except (OSError, ValueError, HTTPException):
        return False
    return True


def is_of_this_machine(address: str) -> bool:
    """Return whether only this machine reaches an address."""
    host = urlsplit(address).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
