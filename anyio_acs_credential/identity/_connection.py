"""Connection strings of Communication Services resources."""

from __future__ import annotations

from dataclasses import dataclass, field

from .._common.errors import explained, wrong_type
from .._common.redaction import Secret, Unpicklable
from .._http.endpoint import check_endpoint

_FORMAT = '"endpoint=https://<resource>.communication.azure.com/;accesskey=<key>"'
_HELP = f'copy it from the "Keys" page of the resource in the Azure portal; it looks like {_FORMAT}'


@dataclass(frozen=True, slots=True)
class ConnectionString(Unpicklable):
    """The endpoint and the access key of a connection string. Its `repr` never shows the key, and it is not pickled.

    Attributes:
        endpoint: The resource's https address, without a slash at its end.
        access_key: The key, as the connection string has it.
    """

    endpoint: str
    access_key: str = field(repr=False)


def parse_connection_string(text: str) -> ConnectionString:
    """Read a connection string, as the Azure portal shows it.

    The parts may come in any order; their names are case-insensitive, and unknown names are ignored. Each part is split
    at its first "=", so the key may contain more of them. Whether the key is base64 is checked where the key is used.

    Args:
        text: The connection string.

    Returns:
        Its endpoint and its key.

    Raises:
        TypeError: when it is not text.
        ValueError: when a part is missing or given twice, or the endpoint is not an https address. The message does not
            repeat the text.
    """
    hidden, text = Secret(text), ""  # no frame that an error passes shows it
    if not isinstance(hidden.value, str):
        raise wrong_type("connection-string", "a connection string is text (str)", hidden.value, f": {_HELP}")
    problem = _find_problem(hidden.value)
    if problem:
        raise explained("connection-string", ValueError(f"the connection string has {problem}: {_HELP}"))
    endpoint = check_endpoint(dict(_split(hidden.value))["endpoint"])
    return ConnectionString(endpoint, dict(_split(hidden.value))["accesskey"])


def _find_problem(text: str) -> str:
    if any("=" not in part for part in text.split(";") if part.strip()):
        return 'a part without "="'
    names = [name for name, _ in _split(text)]
    for name in ("endpoint", "accesskey"):
        if names.count(name) > 1:
            return f"{name!r} twice"
        if not dict(_split(text)).get(name):
            return f"no {name!r}, or an empty one"
    return ""


def _split(text: str) -> list[tuple[str, str]]:
    parts = [part.partition("=") for part in text.split(";") if part.strip()]
    return [(name.strip().lower(), value.strip()) for name, _, value in parts]
