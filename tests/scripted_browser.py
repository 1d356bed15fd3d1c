"""A browser without a window: it follows a sign-in to its end. As a program, it takes the address as its argument."""

from __future__ import annotations

import sys
from html.parser import HTMLParser

import httpx


class Form(HTMLParser):
    """The form of a page: where it is sent, and its hidden fields."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.action = values.get("action", "")
        elif tag == "input" and values.get("type") == "hidden":
            self.fields[values["name"]] = values["value"]


def follow_sign_in(address: str, **answers: str) -> None:
    """Open the address of a sign-in page, answer it where it asks, and bring its answer to the program.

    Args:
        address: What a person would be shown.
        **answers: What the person enters into the page's form. Without any, the person is signed in already.
    """
    with httpx.Client(timeout=30) as client:
        page = client.get(address)
        if answers:
            page = client.post(page.url, data={**Form(page.text).fields, **answers})
        form = Form(page.raise_for_status().text)
        client.post(form.action, data=form.fields)


if __name__ == "__main__":
    follow_sign_in(sys.argv[1])
