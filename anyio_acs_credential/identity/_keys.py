"""Access keys, and the HMAC-SHA256 signature with which they authorize a request.

What is signed, and how: https://learn.microsoft.com/rest/api/communication/authentication.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from email.utils import formatdate
from hashlib import sha256
from hmac import digest
from typing import TYPE_CHECKING, Any, Protocol

from .._common.checks import has_methods
from .._common.errors import explained, wrong_type
from .._common.public import public
from .._common.redaction import Secret, Unpicklable

if TYPE_CHECKING:
    from collections.abc import Mapping


class SupportsKey(Protocol):
    """Anything with an access key that may be rotated, such as azure-core's `AzureKeyCredential`."""

    @property
    def key(self) -> str:
        """The access key, as the Azure portal shows it."""
        ...


class AccessKeyCredential(Unpicklable):
    """An access key of a Communication Services resource. Its `repr` never shows the key, and it refuses to be pickled.

    Args:
        key: One of the two keys on the resource's page in the Azure portal, under "Keys". It is base64 text.

    Raises:
        TypeError: when it is not text.
        ValueError: when it is not base64.
    """

    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        hidden, key = Secret(key), ""  # no frame that an error passes shows it
        decode_key(hidden.value)
        self._key = str.__str__(hidden.value)  # a text of somebody's own class may show something else than it holds

    @property
    def key(self) -> str:
        """The access key."""
        return self._key

    def __repr__(self) -> str:
        return "AccessKeyCredential(<hidden>)"


class Signer:
    """Signs requests with the key that a credential holds at that moment.

    Args:
        credential: Holds the key. It is read at each request, since it may be rotated.

    Raises:
        TypeError: when it holds no key, or one that is not text.
        ValueError: when the key is not base64.
    """

    def __init__(self, credential: SupportsKey) -> None:
        hidden = Secret(credential)
        del credential  # no frame that an error passes shows it: the repr of somebody's own class may show the key
        if not has_methods(hidden.value, "key"):
            fix = ": give key.decode() of bytes, and the access_key of a ConnectionString"
            raise wrong_type("access-key", "an access key is text, or an object with a `.key`", hidden.value, fix)
        self._credential: SupportsKey = hidden.value
        self._decoded = (self._credential.key, decode_key(self._credential.key))

    def __call__(self, request: Any, now: float) -> None:
        """Add the headers of a signature to a request, over exactly the bytes that will be sent.

        Args:
            request: An `httpx.Request` or `httpx2.Request` whose body has been read.
            now: The service's time, in Unix seconds.
        """
        given = Secret(request)
        del request  # no frame that an error passes shows a password in its address
        text = Secret(self._credential.key)
        if self._decoded[0] != text.value:
            self._decoded = (text.value, decode_key(text.value))
        target = given.value.url.raw_path.decode("ascii")
        date = formatdate(now, usegmt=True)  # English names, whatever the locale
        host = given.value.headers["host"]
        signature = sign(self._decoded[1], given.value.method, target, host=host, date=date, body=given.value.content)
        for name, value in signature.items():  # `update` takes several times as long
            given.value.headers[name] = value


def sign(key: bytes, method: str, target: str, *, host: str, date: str, body: bytes) -> Mapping[str, str]:
    """The headers that authorize a request.

    Args:
        key: The decoded access key.
        method: The HTTP method.
        target: Path and query, exactly as they are sent.
        host: The `Host` header: the name, and the port unless it is the scheme's own.
        date: The service's time, as an HTTP date (RFC 9110, section 5.6.7).
        body: The content, exactly as it is sent.

    Returns:
        Names and values of the headers to add.
    """
    content_hash = b2a_base64(sha256(body).digest(), newline=False).decode()
    text = f"{method.upper()}\n{target}\n{date};{host};{content_hash}"
    signature = b2a_base64(digest(key, text.encode(), "sha256"), newline=False).decode()
    return {
        "x-ms-date": date,
        "x-ms-content-sha256": content_hash,
        "Authorization": f"HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signature}",
    }


def decode_key(key: str) -> bytes:
    """The bytes of an access key.

    Args:
        key: Base64 text, without white space.

    Raises:
        TypeError: when it is not text.
        ValueError: when it is empty or not base64. The message does not repeat it.
    """
    hidden, key = Secret(key), ""  # no frame that an error passes shows it
    if not isinstance(hidden.value, str):
        raise wrong_type("access-key", "an access key is text (str)", hidden.value)
    decoded = _decode(hidden.value)
    if not decoded:
        raise explained(
            "access-key",
            ValueError(
                "the access key is not base64 text: copy a key, without white space, "
                'from the "Keys" page of the resource in the Azure portal'
            ),
        )
    return decoded


def _decode(key: str) -> bytes:
    try:
        return a2b_base64(key, strict_mode=True)
    except ValueError:  # raised again by the caller, outside this block
        return b""


public(SupportsKey, module="typing")
