"""Signing in with a browser that is one: the pages as a person sees them in a real Chromium."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.from_thread
import pytest
from anyio.lowlevel import current_token
from chromium import Chromium, needs_chromium, open_chromium
from entra_users import SCOPE, signing_in_at

from anyio_acs_credential import SignInRequiredError
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import InteractiveBrowserCredential

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from anyio.abc import TaskGroup

    from anyio_acs_credential.emulator import Emulator

pytestmark = needs_chromium


@pytest.fixture(scope="module")
async def browser(anyio_backend: object) -> AsyncGenerator[Chromium]:
    """One for all tests of an event loop: it takes a second to start."""
    async with open_chromium() as chromium:
        yield chromium


@pytest.fixture
async def chromium(browser: Chromium) -> Chromium:
    """It shows a new tab."""
    await browser.new_tab()
    return browser


def credential_of(
    emulator: Emulator, group: TaskGroup, visit: Callable[[str], Coroutine[Any, Any, None]]
) -> InteractiveBrowserCredential:
    """A credential whose person visits the sign-in page in a task of the group."""
    loop = current_token()

    def open_browser(uri: str) -> None:
        anyio.from_thread.run_sync(group.start_soon, visit, uri, token=loop)

    return InteractiveBrowserCredential(
        emulator.client_id, timeout=20, open_browser=open_browser, **signing_in_at(emulator)
    )


@pytest.mark.parametrize("mode", ["form_post", "query"])
async def test_a_person_signs_in_and_reads_that_it_worked(chromium: Chromium, mode: str) -> None:
    pages: list[str] = []
    async with open_emulator() as emulator, anyio.create_task_group() as group:

        async def visit(uri: str) -> None:
            await chromium.visit(uri.replace("response_mode=form_post", f"response_mode={mode}"))
            pages.append(await chromium.wait_for("You are signed in"))
            assert ("code=" in await chromium.run("location.search")) == (mode == "query")

        emulator.sign_in_as = "alice"
        credential = credential_of(emulator, group, visit)
        await credential.sign_in(SCOPE)
        assert (await credential.get_token(SCOPE)).claims["name"] == "alice"
    assert "close this window and go back to the program" in pages[0]


async def test_a_person_who_cancels_reads_what_happened_and_the_program_hears_of_it(chromium: Chromium) -> None:
    pages: list[str] = []
    async with open_emulator() as emulator, anyio.create_task_group() as group:

        async def visit(uri: str) -> None:
            await chromium.visit(uri)
            await chromium.wait_for("Sign in")
            await chromium.click("Cancel")
            pages.append(await chromium.wait_for("The sign-in did not work"))

        credential = credential_of(emulator, group, visit)
        with pytest.raises(SignInRequiredError, match="access_denied"):
            await credential.sign_in(SCOPE)
    assert "close this window and go back to the program" in pages[0]
    assert "The user declined to sign in." in pages[0]


DARK = {"name": "prefers-color-scheme", "value": "dark"}
PHONE = {"width": 320, "height": 600, "deviceScaleFactor": 2, "mobile": True}
LOOKS = """(() => {
    const style = getComputedStyle(document.body);
    return {width: document.documentElement.scrollWidth, font: style.fontFamily, text: style.color};
})()"""


async def test_the_pages_are_readable_on_a_phone_in_the_dark(chromium: Chromium) -> None:
    """The styles hold under the page's own Content-Security-Policy; nothing is wider than the screen."""
    looks: list[dict[str, Any]] = []
    async with open_emulator() as emulator, anyio.create_task_group() as group:

        async def visit(uri: str) -> None:
            await chromium.call("Emulation.setEmulatedMedia", features=[DARK])
            await chromium.call("Emulation.setDeviceMetricsOverride", **PHONE)
            await chromium.visit(uri)
            await chromium.wait_for("Sign in")
            looks.append(await chromium.run(LOOKS))
            await chromium.click("Sign in")
            await chromium.wait_for("You are signed in")
            looks.append(await chromium.run(LOOKS))

        await credential_of(emulator, group, visit).sign_in(SCOPE)
    assert looks == [{"width": 320, "font": "system-ui, sans-serif", "text": "rgb(255, 255, 255)"}] * 2
