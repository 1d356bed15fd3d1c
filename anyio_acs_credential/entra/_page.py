"""What the person's browser shows when it comes back from the sign-in."""

from __future__ import annotations

from html import escape
from http import HTTPStatus

_HTML = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 36rem; margin: 15vh auto; padding: 0 1rem }}
h1 {{ line-height: 1.2 }}
p {{ overflow-wrap: anywhere }}
</style>
</head>
<body>
<h1>{title}</h1>
{paragraphs}
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


def page(status: int, title: str, *texts: str) -> bytes:
    """An HTTP answer for a person.

    Args:
        status: The HTTP status.
        title: What happened.
        *texts: The paragraphs.
    """
    paragraphs = "\n".join(f"<p>{escape(text)}</p>" for text in texts)
    body = _HTML.format(title=escape(title), paragraphs=paragraphs).encode()
    headers = {**_HEADERS, "Content-Length": str(len(body))}
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join((*lines, "", "")).encode() + body
