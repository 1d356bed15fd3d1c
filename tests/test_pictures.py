"""The pictures in docs/pictures: made by the scripts beside them as these are now, and complete in themselves."""

from __future__ import annotations

import re
import subprocess
import sys
from hashlib import sha256
from importlib import import_module
from typing import TYPE_CHECKING, TypeAlias
from xml.etree import ElementTree

import anyio
import pytest
from chromium import needs_chromium, open_chromium
from promises import ROOT
from rich.text import Text

if TYPE_CHECKING:
    from types import ModuleType

FOLDER = ROOT / "docs" / "pictures"
DEMO = FOLDER / "demo.svg"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if not path.name.startswith("_"))


def test_each_script_has_its_picture() -> None:
    assert {path.stem for path in SCRIPTS} == {path.stem for path in FOLDER.glob("*.svg")}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_no_picture_is_older_than_its_script(script: object) -> None:
    """It is well-formed, says what it shows, loads nothing, and has the hash of the script that made it."""
    path = FOLDER / f"{getattr(script, 'stem', '')}.svg"
    text = path.read_text("utf-8")
    made_by, digest = re.findall(r"<!-- made by docs/pictures/(\w+\.py), sha256 ([0-9a-f]{64}) -->", text)[0]
    assert digest == sha256((FOLDER / made_by).read_bytes()).hexdigest(), "run `nox -s pictures` and commit them"
    picture = ElementTree.fromstring(text)  # noqa: S314 - our own file
    names = [element.tag.rpartition("}")[2] for element in picture.iter()]
    assert {"title", "desc"} <= set(names)
    assert not {"script", "image", "foreignObject"} & set(names)
    loaded = re.sub(r">[^<]*</text>", "></text>", text)  # without the words, which may name an address
    assert set(re.findall(r"https?://[^\"' )]+", loaded)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"url\(|@import|href|\bon\w+=", loaded)
    assert len(text) < 150_000


@pytest.mark.parametrize("name", ["timeline", "states", "rooms", "fleet"])
def test_a_picture_shows_what_the_code_does_today(name: str) -> None:
    """Made anew, it is the same: what it shows is a run in virtual time, and the code's own tables."""
    code = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import {name}; sys.stdout.write({name}.draw())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert done.stdout == (FOLDER / f"{name}.svg").read_text("utf-8"), "run `nox -s pictures` and commit them"


Frame: TypeAlias = list[list[tuple[str, str]]]
LOADED = f"location.href == '{DEMO.as_uri()}' && document.readyState"
VISIBLE = """
[...document.querySelectorAll('g text')].filter(it => getComputedStyle(it).visibility == 'visible')
  .map(it => [+it.getAttribute('x'), +it.getAttribute('y'), it.textContent])
"""


@pytest.fixture
def moving(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module that makes a moving picture of a recording."""
    monkeypatch.syspath_prepend(FOLDER)
    return import_module("_moving")


def cells_of(moving: ModuleType, x: float, y: float, text: str) -> dict[tuple[int, int], str]:
    """The characters of an element, by row and column."""
    row, column = divmod(y - moving.BAR - moving.FOOT, moving.TALL), divmod(x, moving.WIDE)
    assert (row[1], column[1]) == (0, 0)
    return {(int(row[0]), int(column[0]) + place): each for place, each in enumerate(text) if each != "\u00a0"}


def recorded(moving: ModuleType, text: str) -> tuple[str, float, list[Frame], int]:
    """The recording that a file of `moving` shows, as its style sheet says."""
    picture = ElementTree.fromstring(text)  # noqa: S314 - our own file
    view = picture.attrib["viewBox"].split()
    columns, rows = int(view[2]) // moving.WIDE, (int(view[3]) - moving.BAR - moving.EDGE) // moving.TALL
    styles = dict(re.findall(r"^\.(s\d+) { (.+) }$", text, re.MULTILINE))
    rule = r"^@keyframes (for\d+) { from { visibility: visible } ([\d.]+)% { visibility: hidden } }$"
    parts = {name: float(percent) / 100 for name, percent in re.findall(rule, text, re.MULTILINE)}
    (seconds,) = map(float, re.findall(r"animation: var\(--stay\) ([\d.]+)s var\(--since\) step-end infinite", text))
    count = min(round(int(name[3:]) / part) for name, part in parts.items())
    frames: list[Frame] = [[[moving.BLANK] * columns for _ in range(rows)] for _ in range(count)]
    stills = set(range(count))
    for group in picture.iter("{http://www.w3.org/2000/svg}g"):
        turn = re.fullmatch(r"--stay:(for\d+);--since:-([\d.]+)s", group.get("style", ""))
        began = 0 if turn is None else count - round(float(turn[2]) / seconds * count)
        ended = count if turn is None else began + round(parts[turn[1]] * count)
        stay = set(range(began, ended))
        stills = stills & stay if group.get("class") == "still" else stills - stay
        for element in group:
            place = float(element.attrib["x"]), float(element.attrib["y"])
            for (row, column), character in cells_of(moving, *place, element.text or "").items():
                for frame in frames[began:ended]:
                    assert frame[row][column] == moving.BLANK, "two characters are never seen in one cell"
                    frame[row][column] = character, styles[element.attrib["class"]]
    (still,) = stills
    (command,) = re.findall(r'text-anchor="middle" fill="#\w+">([^<]+)<', text)
    return command, seconds / count, frames, still


def lines_of(frame: Frame) -> str:
    """A frame as text."""
    return "\n".join("".join(character for character, _ in line).rstrip() for line in frame)


def test_the_demonstration_is_a_run_from_its_beginning_to_its_end(moving: ModuleType) -> None:
    """Through an outage and a revocation, without a failed request; the last frame is the sum, and stays a while."""
    _, step, frames, still = recorded(moving, DEMO.read_text("utf-8"))
    shown = [lines_of(frame) for frame in frames]
    assert "starting a Communication Services emulator" in shown[0]
    headlines = ("✓ The token is renewed long before", "✗ OUTAGE", "is back, and no request has failed", "▼ REVOKED")
    places = [min(place for place, text in enumerate(shown) if headline in text) for headline in headlines]
    assert places == sorted(places)
    counts = [re.search(r"^ +(\d+) requests sent +0 failed", text, re.MULTILINE) for text in shown]
    sent = [int(count[1]) for count in counts if count is not None]
    pause = shown.count(shown[-1])
    assert sent == sorted(sent)
    assert len(sent) == len(shown) - pause == still + 1
    assert int(re.findall(r"✓ No request failed: (\d+) were sent and answered", shown[-1])[0]) >= sent[-1]
    assert pause * step >= 3
    assert 10 <= len(shown) * step <= 21


def test_the_demonstration_is_drawn_as_the_script_draws_today(moving: ModuleType) -> None:
    """What the file shows, drawn anew, is the file: none is kept that another version of the drawing has made."""
    text = DEMO.read_text("utf-8")
    recording = moving.Recording(*recorded(moving, text))
    title, description = (re.findall(f"<{name}>(.+)</{name}>", text)[0] for name in ("title", "desc"))
    again = moving.moving(str(FOLDER / "demo.py"), title, description.replace("&#x27;", "'"), recording)
    assert again == text, "run `nox -s pictures` and commit it"


def test_the_demonstration_is_small_and_has_no_token() -> None:
    text = DEMO.read_text("utf-8")
    assert len(text.encode()) < 64_000
    assert not re.search(r"eyJ|[\w+/=-]{40,}", text.partition("\n")[2])  # its first line has a hash


def test_a_moving_picture_shows_the_frames_that_it_was_made_of(moving: ModuleType) -> None:
    """Cells that change together and apart, blanks within a line and at its ends, and what has to be escaped."""
    red, blue = "fill: #ff0000", "fill: #0000ff; font-weight: bold"
    words = ["", "a", "a  <b> & c", "  a  <b>", "x" * 40, "a" + " " * 30 + "b", "a"]

    def line(text: str) -> list[tuple[str, str]]:
        cells = zip(f"{text:40}", [red, red, blue] * 14, strict=False)
        return [(character, style) if character != " " else moving.BLANK for character, style in cells]

    frames = [[line(words[turn]), line(words[-turn]), line("always")] for turn in range(len(words))]
    recording = moving.Recording("command", 0.5, frames, still=2)
    assert recorded(moving, moving.moving(__file__, "<title>", "a & b", recording)) == recording


def test_a_frame_is_what_a_terminal_of_its_size_shows(moving: ModuleType) -> None:
    """Bold is bold, dim is nearer to the ground, and what the terminal has no room for is left out."""
    shown = Text.assemble(("a", "bold green"), " ", ("█", "green"), ("b", "dim"), "c\n\nd")
    plain, grey = "fill: #d9d9d9", "fill: #878787"
    first = [
        ("a", "fill: #98e024; font-weight: bold"),
        ("█", "fill: #98e024; stroke: #98e024"),
        ("b", grey),
        ("c", plain),
    ]
    blank = moving.BLANK
    frame = [[first[0], blank, *first[1:], blank], [blank] * 6]
    assert moving.frame_of(shown, 6, 2) == frame
    assert moving.frame_of(shown, 6, 4) == [*frame, [("d", plain), *[blank] * 5], [blank] * 6]


@needs_chromium
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_browser_shows_each_frame_in_turn_and_one_alone_without_motion(moving: ModuleType) -> None:
    _, step, frames, still = recorded(moving, DEMO.read_text("utf-8"))
    texts = [lines_of(frame) for frame in frames]

    async def seen() -> str:
        rows = [[moving.BLANK] * len(line) for line in frames[0]]
        for x, y, text in await chromium.run(VISIBLE):
            for (row, column), character in cells_of(moving, x, y, text).items():
                rows[row][column] = character, ""
        return lines_of(rows)

    async with open_chromium() as chromium:
        await chromium.new_tab()
        await chromium.visit(DEMO.as_uri())
        while await chromium.run(LOADED) != "complete":  # noqa: ASYNC110
            await anyio.sleep(0.01)  # it does not say when
        for place, text in enumerate(texts):
            moment = 1000 * step * (place + 0.5)
            await chromium.run(f"document.getAnimations().map(it => (it.pause(), it.currentTime = {moment})).length")
            assert await seen() == text
        feature = {"name": "prefers-reduced-motion", "value": "reduce"}
        await chromium.call("Emulation.setEmulatedMedia", features=[feature])
        assert await chromium.run("document.getAnimations().length") == 0
        assert await seen() == texts[still]
