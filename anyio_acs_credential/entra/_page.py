"""What the person's browser shows when it comes back from the sign-in."""

from __future__ import annotations

from html import escape
from http import HTTPStatus

__all__ = ("page",)

_HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>body {{ font: 1.1rem system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1rem }}</style>
</head>
<body>
<h1>{title}</h1>
<p>{text}</p>
</body>
</html>
"""
_HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",  # the address may hold the code
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}


def page(status: int, title: str, text: str) -> bytes:
    """An HTTP answer for a person.

    Args:
        status: The HTTP status.
        title: What happened.
        text: What to do now.
    """
    body = _HTML.format(title=escape(title), text=escape(text)).encode()
    headers = {**_HEADERS, "Content-Length": str(len(body))}
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join((*lines, "", "")).encode() + body
