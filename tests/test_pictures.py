"""The pictures in docs/pictures: made by the scripts beside them as these are now, and complete in themselves."""

from __future__ import annotations

import re
import subprocess
import sys
from hashlib import sha256
from xml.etree import ElementTree

import pytest
from promises import ROOT

FOLDER = ROOT / "docs" / "pictures"
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
    assert set(re.findall(r"https?://[^\"' )]+", text)) == {"http://www.w3.org/2000/svg"}
    assert len(text) < 150_000


@pytest.mark.parametrize("name", ["timeline", "states", "rooms", "fleet"])
def test_a_picture_shows_what_the_code_does_today(name: str) -> None:
    """Made anew, it is the same: what it shows is a run in virtual time, and the code's own tables."""
    code = f"import sys; sys.path.insert(0, {str(FOLDER)!r}); import {name}; sys.stdout.write({name}.draw())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603 - ours
    assert done.stdout == (FOLDER / f"{name}.svg").read_text("utf-8"), "run `nox -s pictures` and commit them"
