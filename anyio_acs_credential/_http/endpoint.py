"""Which addresses secrets may be sent to."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .._common.errors import explained, wrong_type
from .._common.redaction import Secret

if TYPE_CHECKING:
    from urllib.parse import SplitResult

# Labels of 63 letters at most (RFC 1035, section 2.3.4), with "_" besides, which some hosts have.
_HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?")
_EXAMPLE = "https://<resource>.communication.azure.com"


def one_form(host: str) -> str:
    """The one form in which hosts are compared: lower case, no dot at the end, names as DNS has them (RFC 5891).

    Args:
        host: A name in any script, or an address, with brackets or without.

    Returns:
        The same host; a name that IDNA refuses stays as it is.
    """
    name = host.strip("[]").lower().removesuffix(".")
    if (address := _read_address(name)) is not None:
        return str(address)
    if name.isascii():
        return name
    import idna  # httpx brings it

    try:
        return idna.encode(name, uts46=True).decode("ascii")
    except idna.IDNAError:
        return name


def is_secure(scheme: str, host: str) -> bool:
    """Whether secrets may travel there: over https, or over http to this machine's loopback interface.

    Args:
        scheme: The URL's scheme, in lower case.
        host: Its host, without brackets.
    """
    return scheme == "https" or (scheme == "http" and _is_loopback(host))


def check_endpoint(text: str) -> str:
    """The address of a service as scheme, host and port.

    Args:
        text: An https URL without user name, path, query and fragment; http is accepted for loopback hosts. A lone
            slash at its end is taken off.

    Returns:
        The endpoint in lower case, without a slash at its end.

    Raises:
        TypeError: when it is not text.
        ValueError: when secrets should not be sent there, or the text is not an endpoint. The message repeats no user
            name or password.
    """
    hidden, text = Secret(text), ""  # it may hold a password or a key: no frame that an error passes shows it
    if not isinstance(hidden.value, str):
        raise wrong_type("endpoint", f'an endpoint is text such as "{_EXAMPLE}"', hidden.value)
    parts = Secret(_split(hidden.value))
    if parts.value is None or not parts.value.netloc:
        raise explained(
            "endpoint", ValueError(f'the endpoint is not a URL with a scheme and a host: write it as "{_EXAMPLE}"')
        )
    problem = _find_problem(hidden.value, parts.value)
    if problem:
        raise explained("endpoint", ValueError(f"the endpoint {problem}; it looks like {_EXAMPLE}"))
    return f"{parts.value.scheme}://{parts.value.netloc.lower()}"


def _split(text: str) -> SplitResult | None:
    try:
        return urlsplit(text)
    except ValueError:  # brackets that do not match, among others
        return None


def _find_problem(text: str, parts: SplitResult) -> str | None:
    host = parts.hostname or ""
    checks = {
        "contains white space or a control character: remove it": not text.isprintable() or " " in text,
        "contains a user name or password: remove everything up to the @": "@" in parts.netloc,
        "has a query or fragment: remove everything from the ? or # on": "?" in text or "#" in text,
        "has a path: remove it": parts.path not in {"", "/"},
        "has no host that is a name in ASCII letters (xn-- for others) or an address: correct it": not _is_host(host),
        "has a port that is no number from 1 to 65535: correct it": not _has_good_port(parts),
        "does not begin with https:// (http:// is for loopback hosts alone): correct it": not is_secure(
            parts.scheme, host
        ),
    }
    return next((problem for problem, found in checks.items() if found), None)


def _is_host(host: str) -> bool:
    return _read_address(host) is not None or (bool(_HOST_NAME.fullmatch(host)) and _is_readable(host))


def _is_readable(host: str) -> bool:
    """Whether httpx can read an ASCII name, whose "xn--" labels it turns into the script that they stand for."""
    if "xn--" not in host:
        return True
    import idna

    try:
        idna.decode(host)
    except idna.IDNAError:
        return False
    return True


def _has_good_port(parts: SplitResult) -> bool:
    try:
        return parts.port != 0 and not parts.netloc.endswith(":")
    except ValueError:
        return False


def _read_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return None if "%" in host else ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    name = one_form(host)
    address = _read_address(name)
    return name == "localhost" or (address is not None and address.is_loopback)
