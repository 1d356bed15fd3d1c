"""Connection strings of Communication Services resources."""

from __future__ import annotations

from dataclasses import dataclass, field

from .._endpoint import check_endpoint
from .._errors import explained
from ._keys import Secret

__all__ = ("ConnectionString", "parse_connection_string")

_FORMAT = '"endpoint=https://<resource>.communication.azure.com/;accesskey=<key>"'
_HELP = f'copy it from the "Keys" page of the resource in the Azure portal; it looks like {_FORMAT}'


@dataclass(frozen=True, slots=True)
class ConnectionString(Secret):
    """What a connection string says. Its `repr` never shows the key, and it refuses to be pickled.

    Attributes:
        endpoint: The resource's https address, without a slash at its end.
        access_key: The key, as it was written.
    """

    endpoint: str
    access_key: str = field(repr=False)


def parse_connection_string(text: str) -> ConnectionString:
    """Read a connection string, as the Azure portal shows it.

    The parts may come in any order; their names are case-insensitive, and names that are not known are ignored. Only
    the first "=" of a part separates: the key may contain more. Whether the key is base64 is checked where it is used.

    Args:
        text: The connection string.

    Returns:
        Its endpoint and its key.

    Raises:
        TypeError: when it is not text.
        ValueError: when a part is missing or there twice, or the endpoint is none. The text is not repeated.
    """
    if not isinstance(text, str):
        raise TypeError(
            explained("connection-string", f"a connection string is text (str), not {type(text).__name__}: {_HELP}")
        )
    values: dict[str, str] = {}
    for name, value in _split(text):
        if name in {"endpoint", "accesskey"} and name in values:
            raise ValueError(explained("connection-string", f"the connection string has {name!r} twice: {_HELP}"))
        values[name] = value
    for name in ("endpoint", "accesskey"):
        if not values.get(name):
            raise ValueError(
                explained("connection-string", f"the connection string has no {name!r}, or an empty one: {_HELP}")
            )
    return ConnectionString(check_endpoint(values["endpoint"]), values["accesskey"])


def _split(text: str) -> list[tuple[str, str]]:
    parts = [part.partition("=") for part in text.split(";") if part.strip()]
    if not all(separator for _, separator, _ in parts):
        raise ValueError(explained("connection-string", f'the connection string has a part without "=": {_HELP}'))
    return [(name.strip().lower(), value.strip()) for name, _, value in parts]
