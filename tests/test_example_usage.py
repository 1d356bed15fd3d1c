"""An example that lacks its arguments, or has wrong ones, says which it wants, and ends with status 2."""

from __future__ import annotations

import re
import runpy
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


def test_each_example_that_takes_arguments_names_them() -> None:
    """What its docstring shows behind its name has a name of its own; none reads `sys.argv` by itself."""
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text("utf-8")
        assert "sys.argv" not in text
        assert bool(re.search(rf"^ +python {path.name} \S", text, re.MULTILINE)) == (path.name in NAMES)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NAMES)
def test_an_example_with_wrong_arguments_says_its_usage(
    name: str, authority: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is run in this process: most of the time of one of its own goes into imports."""
    text = (EXAMPLES / name).read_text("utf-8")
    for module in re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE):
        pytest.importorskip(module)
    for variable, value in {**ENVIRONMENT, **authority}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setattr(sys, "argv", [name, *(["soon"] if 'nargs="?"' in text else [])])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"usage: {name} ")
