"""An example that lacks its arguments, or has wrong ones, says which it wants, and ends with status 2."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from command_line import emulator_in_a_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = Path(__file__).parents[1] / "examples"
ENVIRONMENT = {
    "ACS_CONNECTION_STRING": "endpoint=https://contoso.example/;accesskey=bm8ga2V5",
    "ACS_ENDPOINT": "https://contoso.example",
    "ENTRA_CLIENT_ID": "11111111-1111-1111-1111-111111111111",
    "ENTRA_CLIENT_SECRET": "none",
    "SESSION_SECRET": "none",
}
NAMES = sorted(path.name for path in EXAMPLES.glob("*.py") if "add_argument" in path.read_text("utf-8"))


@pytest.fixture(scope="module")
def authority() -> Iterator[dict[str, str]]:
    """One that answers: a confidential client asks its authority when it is made."""
    with emulator_in_a_thread() as emulator:
        yield {"ENTRA_AUTHORITY": emulator.authority, "REQUESTS_CA_BUNDLE": emulator.ca_file}


def run(name: str, environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", str(EXAMPLES / name), *arguments]
    return subprocess.run(  # noqa: S603 - our own interpreter
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **ENVIRONMENT, **environment},
    )


def test_each_example_that_takes_arguments_names_them() -> None:
    """What its docstring shows behind its name has a name of its own; none reads `sys.argv` by itself."""
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text("utf-8")
        assert "sys.argv" not in text
        assert bool(re.search(rf"^ +python {path.name} \S", text, re.MULTILINE)) == (path.name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_with_wrong_arguments_says_its_usage(name: str, authority: dict[str, str]) -> None:
    for module in re.findall(r"^(?:from|import) (\w+)", (EXAMPLES / name).read_text("utf-8"), re.MULTILINE):
        pytest.importorskip(module)
    is_optional = 'nargs="?"' in (EXAMPLES / name).read_text("utf-8")
    done = run(name, authority, *(["soon"] if is_optional else []))
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"usage: {name} ")
    assert "Traceback" not in done.stderr
