"""The browser's request that brings the answer to a sign-in: where it arrives, and what it may look like."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from anyio import DelimiterNotFound, IncompleteRead
from anyio.streams.buffered import BufferedByteReceiveStream

from .._common.errors import explained, wrong_type
from .._common.redaction import Secret

if TYPE_CHECKING:
    from anyio.abc import ByteReceiveStream

_MAX_HEAD = 32 * 1024
_MAX_BODY = 64 * 1024
_LOOPBACK = re.compile(r"http://(localhost|127\.0\.0\.1)(?::([0-9]{1,5}))?((?:/[A-Za-z0-9._~/-]*)?)")
_REQUEST_LINE = re.compile(r"([A-Z]+) (/[!-~]*) HTTP/1\.[01]")
_ERROR = re.compile(r"[ -~]*")  # the characters of an `error` (RFC 6749, section 4.1.2.1)
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class RedirectAddress:
    """A loopback redirect URI.

    Attributes:
        host: "localhost" or "127.0.0.1", as the application's registration has it.
        port: The port; 0 for any free port.
        path: The path; "" where the URI has no path.
    """

    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, text: object) -> RedirectAddress:
        """The address in the text of a URI.

        Raises:
            TypeError: when it is not text.
            ValueError: when it is not an http address on loopback.
        """
        hidden, text = Secret(text), None  # no frame that an error passes shows a password
        if not isinstance(hidden.value, str):
            raise wrong_type("redirect-uri", 'redirect_uri is text such as "http://localhost"', hidden.value)
        found = _LOOPBACK.fullmatch(hidden.value)
        if found is None or int(found[2] or 0) > 65535:
            raise explained(
                "redirect-uri",
                ValueError('redirect_uri is on this machine: write it as "http://localhost", with a port if need be'),
            )
        return cls(found[1], int(found[2] or 0), found[3])

    def uri(self, port: int) -> str:
        """The URI with the port that is listened on."""
        return f"http://{self.host}:{port}{self.path}"


class BadRequestError(Exception):
    """A request that does not answer the sign-in, with the status and the text of the page for it."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status, self.text = status, text


async def read_answer(stream: ByteReceiveStream, path: str, state: str) -> dict[str, str]:
    """The parameters of the authority's answer, which the browser brings in the address or in a form.

    Args:
        stream: The browser's connection.
        path: The redirect's path.
        state: The `state` that the answer has to repeat.

    Raises:
        BadRequestError: when the request is not the answer to this sign-in.
    """
    params = await _read(stream, path)
    if not compare_digest(params.get("state", "").encode(), state.encode()):
        raise BadRequestError(400, "This is not the answer to the sign-in that is waited for.")
    if not ("code" in params or "error" in params):
        raise BadRequestError(400, "The sign-in's answer has neither a code nor an error.")
    if not _ERROR.fullmatch(params.get("error", "")):  # MSAL would put it into a header of its next request
        raise BadRequestError(400, "The sign-in's error is none that OAuth knows.")
    return params


async def _read(stream: ByteReceiveStream, path: str) -> dict[str, str]:
    buffered = BufferedByteReceiveStream(stream)
    try:
        head = (await buffered.receive_until(b"\r\n\r\n", _MAX_HEAD)).decode("latin-1")
    except (DelimiterNotFound, IncompleteRead) as error:
        raise BadRequestError(431, "The request is too large, or none.") from error
    first, *lines = head.split("\r\n")
    line = _REQUEST_LINE.fullmatch(first)
    if line is None:
        raise BadRequestError(400, "This is not HTTP.")
    try:
        target = urlsplit(line[2])
    except ValueError as error:  # brackets that do not match
        raise BadRequestError(400, "This is not HTTP.") from error
    if (target.path or "/") != path:
        raise BadRequestError(404, "There is nothing here.")
    headers = {name.strip().lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
    if line[1] == "GET":
        return dict(parse_qsl(target.query))
    if line[1] != "POST" or headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise BadRequestError(405, "The sign-in's answer comes as a form or in the address.")
    return dict(parse_qsl((await _read_body(buffered, headers)).decode("latin-1")))


async def _read_body(buffered: BufferedByteReceiveStream, headers: dict[str, str]) -> bytes:
    length = headers.get("content-length", "")
    if not re.fullmatch(r"[0-9]{1,9}", length):
        raise BadRequestError(411, "The request does not say how long it is.")
    if int(length) > _MAX_BODY:
        raise BadRequestError(413, "The request is too large.")
    try:
        return await buffered.receive_exactly(int(length))
    except IncompleteRead as error:
        raise BadRequestError(400, "The request was cut off.") from error
