"""The README: it is short, its code runs as it is written, its links lead somewhere, its facts hold."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
from documents import RUNNERS, Block, blocks, headings, run, run_configured, stand_ins, table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
FIRST, EMULATED, *SNIPPETS = blocks(README, "python")


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 200


def test_why_it_is_needed_stands_on_the_first_screen() -> None:
    """With the test that proves it."""
    first, _, _ = README.partition("\n## ")
    path, name = re.findall(r'\]\((tests/\w+\.py) "(\w+)"\)', first)[0]
    assert f"\ndef {name}(" in (ROOT / path).read_text("utf-8")
    assert len(first.splitlines()) < 35


def test_every_kind_of_block_is_there() -> None:
    assert FIRST.is_configured
    assert EMULATED.is_program
    assert not EMULATED.is_configured
    assert SNIPPETS
    assert not any(snippet.is_program for snippet in SNIPPETS)
    for _, said in RUNNERS.values():
        assert said in FIRST.code


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("runner", RUNNERS)
async def test_the_first_program(runner: str) -> None:
    """It runs in each way that it names, and prints no token."""
    assert re.fullmatch(r"a token of \d+ characters\n", await run_configured(FIRST, runner, "README.md"))


def test_the_first_program_runs_as_it_stands_beside_the_emulator(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """By the command under "Try it", which makes its user."""
    pytest.importorskip("click", reason="the command line is an extra")
    from anyio_acs_credential.cli import main

    (tmp_path / "app.py").write_text(FIRST.code, "utf-8")
    assert " emulator -- .venv/bin/python app.py`" in README
    assert main(["emulator", "--", sys.executable, "-W", "error", str(tmp_path / "app.py")]) == 0
    assert re.fullmatch(r"a token of \d+ characters\n", capfd.readouterr().out)


def test_a_program_without_an_account() -> None:
    """It needs nothing of its environment, and prints what is shown."""
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-W", "error", "-c", EMULATED.code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (shown,) = (block.code for block in blocks(README, "text") if block.heading == EMULATED.heading)
    assert EMULATED.is_printed(done.stdout, re.sub(r"\d+", "…", shown)), done.stdout


@pytest.mark.parametrize("snippet", SNIPPETS, ids=str)
async def test_snippets(snippet: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snippet runs as it is written, in an async function in the block of a credential."""
    async with stand_ins(monkeypatch) as names:
        await run(snippet, names, "README.md")


def test_links() -> None:
    """Each relative link leads to a file that exists, and each anchor to a heading."""
    text = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r'\]\((?!https?:)([^)\s]*)(?: "[^"]*")?\)', text)
    assert targets
    for target in targets:
        name, _, anchor = target.partition("#")
        path = ROOT / name if name else ROOT / "README.md"
        assert path.exists(), target
        assert not anchor or anchor in headings(path.read_text("utf-8")), target


def test_try_it() -> None:
    """The commands under "Try it" leave the system's Python alone and name a command that exists."""
    main, *further = (block.code.splitlines() for block in blocks(README, "sh") if block.heading == "Try it")
    assert len(main) == 2
    install, *starts = map(shlex.split, chain(main, *further))
    assert install[:5] == ["python3", "-m", "venv", ".venv", "&&"]
    assert install[5:9] == [".venv/bin/python", "-m", "pip", "install"]
    extras = re.fullmatch(r"\.\[(.+)\]", install[-1])
    assert extras
    assert set(extras[1].split(",")) <= set(PROJECT["optional-dependencies"])
    for start in starts:
        command = Path(start[0])
        assert command.parent == Path(".venv/bin")
        module, _, function = PROJECT["scripts"][command.name].partition(":")
        script = f"import sys; from {module} import {function}; sys.exit({function}())"
        helped = subprocess.run([sys.executable, "-c", script, *start[1:], "--help"], capture_output=True, check=False)  # noqa: S603 - our own interpreter
        assert helped.returncode == 0, helped.stderr.decode()


def test_extras() -> None:
    assert set(table(README, "Install", "Extra")) <= set(PROJECT["optional-dependencies"])


def test_addresses() -> None:
    """The package's metadata and the site name the same places."""
    site = (ROOT / "mkdocs.yml").read_text("utf-8")
    urls = PROJECT["urls"]
    assert f"\nsite_url: {urls['Documentation']}\n" in site
    assert f"\nrepo_url: {urls['Repository']}\n" in site
