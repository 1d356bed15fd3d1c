"""The checks of the project: `nox` runs what a change must pass, `nox -l` lists all, `nox -s tests-3.12` runs one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path

import nox
from nox.project import dependency_groups, load_toml, python_versions
from packaging.requirements import Requirement

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_missing_interpreters = True

PROJECT = load_toml("pyproject.toml")
LOWEST, *LATER = python_versions(PROJECT)
CODE = ("anyio_acs_credential", "tests", "examples", "benchmarks", "docs", "noxfile.py")
TYPED_USE = "tests/typed_use.py"
JAVASCRIPT = ("@azure/communication-common@2", "@azure/communication-identity@1")
CORES = os.cpu_count() or 1
EACH_CORE = ("--numprocesses", str(CORES + 2), "--dist=worksteal", "--durations=10")  # many tests wait
ONCE_IS_ENOUGH = ("-m", "not once")  # left to the newest Python: what is a whole program, or large, or a document
NOT_OURS = (
    "ASYNC100",  # ruff finds the same, and a fifth of the time is this rule's
    "ASYNC114",  # it wants a list of the names of startable functions, which would be one more thing to keep right
    "ASYNC128",  # a function that hands task_status on is not seen to use it
    "ASYNC106",  # `from anyio import Event` reads as well as `import anyio`
    "ASYNC109",  # as in ruff: what is called timeout is not always one
    "ASYNC124",  # a function is async where its caller awaits it, also when it need not wait
    "ASYNC127",  # httpx is the client that the library's users have; httpx2 is supported beside it
)


def runs(version: str) -> bool:
    """Whether that Python starts: a launcher on the PATH may stand for one that is not there."""
    try:
        return subprocess.run([f"python{version}", "-c", ""], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


FOUND = [LOWEST, *filter(runs, LATER)]
MIDDLE = FOUND[1] if len(FOUND) > 2 else None  # the one whose tests run with the oldest packages
if missing := [version for version in LATER if version not in FOUND]:
    print(f"Skipped, because this machine does not have them: Python {', '.join(missing)}.", file=sys.stderr)
nox.options.sessions = ["lint", "types", "docs", "lowest", *(f"tests-{each}" for each in FOUND if each != MIDDLE)]


def install(session: nox.Session, *groups: str, extras: str = "[all]") -> None:
    session.install("--editable", f".{extras}", *dependency_groups(PROJECT, *groups))


def run_tests(session: nox.Session, *arguments: str) -> None:
    """On every core. Bytecode is kept, beside the packages: whole programs spend most of their time in imports."""
    session.env["PYTHONDONTWRITEBYTECODE"] = ""
    session.env["PYTHONPYCACHEPREFIX"] = str(Path(session.virtualenv.location).resolve() / "bytecode")
    if not session.posargs:  # workers begin at once, and each would compile every file
        files = [str(path) for path in sorted(Path("tests").glob("test_*.py"))]
        parts = (files[part::CORES] for part in range(CORES))
        side_by_side(session, *(("pytest", "--collect-only", "-qq", *part) for part in parts), shown=False)
    session.run("pytest", *EACH_CORE, *arguments, *session.posargs)


def floors() -> list[str]:
    """The oldest release of each runtime package and of each extra's that pyproject.toml admits."""
    project = PROJECT["project"]
    wanted = map(Requirement, chain(project["dependencies"], *project["optional-dependencies"].values()))
    return [str(need).replace(">=", "==") for need in wanted if need.name != project["name"]]


def side_by_side(session: nox.Session, *commands: tuple[str, ...], shown: bool = True) -> None:
    """Run them at once, and show what each has printed as a whole; always, where one fails."""
    with ThreadPoolExecutor(len(commands)) as pool:
        for printed in pool.map(lambda command: session.run(*command, silent=True), commands):
            print(printed if shown else "", end="")


def async_files() -> list[str]:
    """Every Python file with an async function or a scope, for flake8-async, which takes no folders and is slow."""
    paths = chain.from_iterable(sorted(Path(name).rglob("*.py")) or [Path(name)] for name in CODE)
    return [str(path) for path in paths if re.search("async (def|with|for) |Scope|_group", path.read_text("utf-8"))]


@nox.session(python=LOWEST)
def lint(session: nox.Session) -> None:
    """Style, common mistakes, cancel scopes and task groups, spelling, the workflow's security."""
    session.install(*dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", *CODE)
    session.run("ruff", "format", "--check", *CODE)
    session.run("typos")
    session.run("zizmor", "--offline", "--quiet", ".github/workflows")
    flake8_async = ("flake8-async", "--anyio", "--enable=ASYNC1", f"--disable={','.join(NOT_OURS)}")
    files = async_files()
    side_by_side(session, *((*flake8_async, *files[part::CORES]) for part in range(CORES)))  # a minute on one core


@nox.session(python=LOWEST)
def types(session: nox.Session) -> None:
    """Strict types everywhere; every public name completely typed; programs that use them, for four type checkers."""
    install(session, "test", "types", "bench")
    python = f"{session.bin}/python"  # a checker would look into the .venv of a clone first, which has less
    side_by_side(
        session,
        ("mypy",),
        ("basedpyright", "--pythonpath", python, "--verifytypes", "anyio_acs_credential", "--ignoreexternal"),
        ("basedpyright", "--pythonpath", python, "--level", "error", TYPED_USE),
        ("pyrefly", "check", "--python-interpreter-path", python, TYPED_USE),
        ("ty", "check", "--python", str(session.virtualenv.location), TYPED_USE),
    )


@nox.session(python=FOUND)
def tests(session: nox.Session) -> None:
    """Every test, on every event loop, with the newest Python; with the oldest, every line and branch is run."""
    install(session, "test")
    if shutil.which("redis-server") is None:
        session.warn("redis-server is not installed (Debian has a package): RedisTokenStore is not tested")
        session.env["UNMEASURED"] = "*/fleet/_redis*.py"
    measured = ["--cov"] if session.python == LOWEST and not session.posargs else []
    part = [] if session.python == FOUND[-1] or session.posargs else ONCE_IS_ENOUGH
    run_tests(session, *measured, *part)


@nox.session(python=MIDDLE or LOWEST)
def lowest(session: nox.Session) -> None:
    """With the oldest packages that pyproject.toml admits: on a Python between, where there is one."""
    session.install("--editable", ".", *dependency_groups(PROJECT, "test"), *floors())
    run_tests(session, "-m", "not once and not twice", "-k", "not uvloop")


@nox.session(python=False)
def promises(session: nox.Session) -> None:
    """Write the proofs into docs/promises.md; the tests say when that is wanted."""
    session.run(sys.executable, "tests/promises.py")


@nox.session(python=False)
def sizes(session: nox.Session) -> None:
    """Name the modules that hold the most code."""
    session.run(sys.executable, "tests/sizes.py")


@nox.session(python=LOWEST)
def docs(session: nox.Session) -> None:
    """Build the site and check it; `nox -s docs -- serve` serves it until Ctrl-C, and builds it anew at each change."""
    install(session, "docs", "test")
    session.env["NO_MKDOCS_2_WARNING"] = "1"
    if session.posargs == ["serve"]:
        session.run("mkdocs", "serve")
        return
    site = str(Path(session.create_tmp()) / "site")
    session.run("mkdocs", "build", "--quiet", "--site-dir", site)
    session.run("python", "docs/check_site.py", site)
    session.run("pytest", "tests/test_site.py", env={"SITE": site})


@nox.session(python=LOWEST)
def pictures(session: nox.Session) -> None:
    """Draw the pictures of the documentation anew, each from a real run."""
    install(session, "bench")
    for script in sorted(Path("docs/pictures").glob("[!_]*.py")):
        session.run("python", str(script))


@nox.session(python=LOWEST)
def campaign(session: nox.Session) -> None:
    """The properties and the model of the credential, with 10,000 examples each."""
    install(session, "test")
    session.run("pytest", "-m", "hypothesis", "--hypothesis-profile=campaign", "--timeout=0", *session.posargs)


@nox.session(python=LOWEST)
def kills(session: nox.Session) -> None:
    """Fleets of processes on their bad days, with both stores: `nox -s kills -- 200` for so many runs."""
    install(session, "test")
    session.run("python", "tests/kill_campaign.py", *session.posargs)


@nox.session(python=LOWEST)
def fuzz(session: nox.Session) -> None:
    """A million broken answers for each parser, or for those that are named: `nox -s fuzz -- exchange`."""
    install(session, "test")
    session.run("python", "tests/fuzz.py", *session.posargs)


@nox.session(python=LOWEST)
def mutation(session: nox.Session) -> None:
    """Change the code a little at a time: each change must fail a test, or tests/mutants.txt says why it does not."""
    install(session, "test", "mutation")
    shutil.rmtree("mutants", ignore_errors=True)  # mutmut keeps what it found, whatever has become of the tests since
    session.run("mutmut", "run", *session.posargs)
    session.run("python", "tests/mutants.py")


@nox.session(python=LOWEST)
def wire(session: nox.Session) -> None:
    """The published packages: identifiers, both ways; JavaScript's identity client; what the site compares."""
    install(session, "test", "wire")
    folder = session.create_tmp()
    session.run("npm", "install", "--no-save", "--silent", f"--prefix={folder}", *JAVASCRIPT, external=True)
    session.run("python", "tests/published_identifiers.py", folder)
    session.run("python", "tests/published_client.py", folder)
    session.run("python", "tests/published_credential.py", folder)
    session.run("pytest", "tests/test_identifiers.py", "tests/test_official.py", *session.posargs)


@nox.session(python=LOWEST)
def bench(session: nox.Session) -> None:
    """Each benchmark, or those that are named: `nox -s bench -- reading`."""
    install(session, "bench")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(python=LOWEST)
def package(session: nox.Session) -> None:
    """Build what is published, and check it: `nox -s package -- v1.2.3` also that the tag is that of the version."""
    version = PROJECT["project"]["version"]
    if session.posargs and session.posargs != [f"v{version}"]:
        session.error(f"the tag is {session.posargs[0]}, and the version {version}: set it in pyproject.toml")
    if session.posargs and f"## [{version}] - 2" not in Path("CHANGELOG.md").read_text("utf-8"):
        session.error(f"CHANGELOG.md has no date for {version}: write it beside the version")
    session.install(*dependency_groups(PROJECT, "package", "types"))
    shutil.rmtree("dist", ignore_errors=True)
    session.run("python", "-m", "build")
    sdist, wheel = (str(next(Path("dist").glob(f"*{end}")).resolve()) for end in (".tar.gz", ".whl"))
    session.run("twine", "check", "--strict", sdist, wheel)
    session.run("check-wheel-contents", wheel)

    session.chdir(session.create_tmp())  # where the checkout's own package is not found first
    session.run("python", "-m", "venv", "--clear", "alone")  # with nothing but what the wheel itself asks for
    alone = str(next(path for path in Path("alone").glob("*/python*") if path.stem == "python").absolute())
    session.run(alone, "-m", "pip", "install", "--quiet", wheel, external=True)
    session.run(alone, "-W", "error", "-c", "from anyio_acs_credential import *", external=True)
    session.install(f"{wheel}[all]", "httpx2 >=2")  # the client that one of its modules is for
    session.run("acs-credential", "--help", silent=True)
    session.run("basedpyright", "--verifytypes", "anyio_acs_credential", "--ignoreexternal")

    session.run("tar", "--extract", "--strip-components=1", f"--file={sdist}", external=True)
    session.install(f"{sdist}[all]", "--group", "test")
    session.run("pytest", *EACH_CORE, "--ignore=tests/test_fuzz.py")


@nox.session(python=LOWEST)
def audit(session: nox.Session) -> None:
    """Ask the network for known weaknesses of what the package and its extras need, in their newest releases."""
    session.install("--editable", ".[all]", *dependency_groups(PROJECT, "audit"))
    session.run("pip-audit", "--skip-editable", "--progress-spinner=off")
