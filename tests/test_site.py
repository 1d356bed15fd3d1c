"""The site in a real browser: on no page is anything cut off, on a screen, a tablet and a phone, by day and by night.

They run where mkdocs and Chromium are, as in nox's session `docs`, which names the folder of the site in `SITE`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from chromium import Chromium, needs_chromium, open_chromium

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = [needs_chromium, pytest.mark.timeout(600)]

ROOT = Path(__file__).parent.parent
WIDTHS = (1280, 800, 390)
# What ends beyond the window, or is wider than what it scrolls in. What is drawn with text may scroll.
CUT_OFF = """
[...document.querySelectorAll('body *')].filter(it => {
  const box = it.getBoundingClientRect();
  const seen = box.width > 1 && box.height > 1 && box.left >= 0 && getComputedStyle(it).visibility != 'hidden';
  const aside = it.closest('.md-sidebar, .md-search, .md-tabs, .md-header, .drawn, .md-top, svg');
  const wide = it.scrollWidth > it.clientWidth + 1 && getComputedStyle(it).overflowX != 'visible';
  return seen && !aside && (box.right > document.documentElement.clientWidth + 1 || wide && it.clientWidth > 0);
}).map(it => it.tagName + ' ' + it.className + ': ' + it.innerText.slice(0, 60))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The pages of the site, built strictly unless that was done."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    if not (folder := os.environ.get("SITE", "")):
        folder = str(tmp_path_factory.mktemp("site"))
        command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", folder]
        subprocess.run(command, cwd=ROOT, check=True)  # noqa: S603 - our own interpreter
    return sorted(Path(folder).resolve().rglob("index.html"))


@pytest.fixture(scope="module")
async def chromium(anyio_backend: object) -> AsyncGenerator[Chromium]:
    """One for all pages."""
    async with open_chromium() as chromium:
        await chromium.new_tab()
        yield chromium


async def widen(chromium: Chromium, width: int) -> None:
    """Give the window this width."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    await chromium.call("Emulation.setDeviceMetricsOverride", **size)


async def prefer(chromium: Chromium, scheme: str) -> None:
    """Give the person this taste."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    await chromium.call("Emulation.setEmulatedMedia", features=[feature])


LOADED = """
document.readyState == 'complete' && location.pathname == '{page}'
  && [...document.querySelectorAll('article table:not([class])')].every(it => it.closest('.md-typeset__table'))
"""


async def load(chromium: Chromium, page: Path) -> None:
    """Show a page, until the theme has put its tables into what scrolls them."""
    await chromium.visit(page.as_uri())
    while await chromium.run(LOADED.format(page=page)) is not True:  # noqa: ASYNC110
        await anyio.sleep(0.01)  # its script does not say when


@pytest.mark.parametrize("anyio_backend", ["asyncio"], scope="module")
async def test_nothing_is_cut_off(site: list[Path], chromium: Chromium) -> None:
    faults = []
    assert len(site) > 30
    for page in site:
        await load(chromium, page)
        for scheme in ("light", "dark"):
            await prefer(chromium, scheme)
            for width in WIDTHS:
                await widen(chromium, width)
                faults += [f"{page.parent.name} at {width}, {scheme}: {it}" for it in await chromium.run(CUT_OFF)]
    assert not faults, "\n".join(faults)
