"""The pages that people see when they sign in."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from starlette.responses import HTMLResponse

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.responses import Response

_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 28rem; margin: 4rem auto; padding: 0 1rem }}
label {{ display: block; margin: 1rem 0 }}
input {{ display: block; box-sizing: border-box; width: 100% }}
input, button {{ font: inherit; padding: 0.3rem 0.6rem }}
</style>
<h1>{title}</h1>
{content}
</html>
"""


def message_page(title: str, text: str, status: int = 200) -> Response:
    """A page with one message."""
    return _page(title, f"<p>{escape(text)}</p>", status)


def sign_in_page(users: Iterable[str], hint: str, params: Mapping[str, str]) -> Response:
    """A page where a person signs in to an application.

    Args:
        users: The names that the page suggests.
        hint: The name that the page fills in.
        params: The parameters of the application's request.
    """
    return _page("Sign in", f'<form method="post">{_hidden(params)}{_user_field(users, hint)}</form>')


def device_page(users: Iterable[str]) -> Response:
    """A page where a person enters the code that another device shows."""
    code = '<label>Code <input name="user_code" autocomplete="off" autofocus required></label>'
    return _page("Sign in on another device", f'<form method="post">{code}{_user_field(users, "user")}</form>')


def post_page(uri: str, params: Mapping[str, str]) -> Response:
    """A page that posts an answer at once (OAuth 2.0 Form Post Response Mode)."""
    button = "<noscript><button>Continue</button></noscript>"
    form = f'<form method="post" action="{escape(uri)}">{_hidden(params)}{button}</form>'
    return _page("Signing in", f"{form}<script>document.forms[0].submit()</script>")


def _user_field(users: Iterable[str], hint: str) -> str:
    options = "".join(f'<option value="{escape(user)}">' for user in users)
    return (
        f'<label>User <input name="user" list="users" value="{escape(hint)}"></label>'
        f'<datalist id="users">{options}</datalist>'
        "<p>In the emulator any name will do, and there is no password.</p>"
        '<button name="decision" value="sign_in">Sign in</button> '
        '<button name="decision" value="cancel">Cancel</button>'
    )


def _hidden(params: Mapping[str, str]) -> str:
    return "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in params.items()
    )


def _page(title: str, content: str, status: int = 200) -> Response:
    return HTMLResponse(_PAGE.format(title=title, content=content), status, {"Cache-Control": "no-store"})
