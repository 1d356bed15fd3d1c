"""The order of the house: what the documents say, what is public, and which module may know which."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from importlib import import_module
from inspect import getdoc, isclass, isroutine

import pytest
from imports import MODULES, PACKAGE, imported, name_of
from promises import ROOT, Proof, all_proofs, promised, proofs_in_benchmark, proofs_in_test, with_proofs

import anyio_acs_credential
from anyio_acs_credential._http.request import VERSION

PUBLIC_MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in MODULES
    if not any(part.startswith("_") and part != "__init__.py" for part in path.relative_to(PACKAGE).parts)
)
HEAVY = (
    "asyncio",
    "trio",
    "msal",
    "requests",
    "httpx",
    "httpx2",
    "jwt",
    "cryptography",
    "rich",
    "click",
    "starlette",
    "anycorn",
)
PURE = ("_tokens", "_decisions", "identifiers", "_common")  # whole rooms
PURE_TOO = (  # and what decides in rooms that do I/O
    "cli._doctor._certificate", "cli._doctor._finding", "cli._doctor._meaning", "cli._doctor._offset", "cli._times",
    "_exchange.entra_codes", "_exchange.issued", "_exchange.kept_token", "_exchange.scopes", "_exchange.wire",
    "_http.answer", "_http.challenge", "_http.endpoint", "_http.environment", "_http.retry_after",
    "entra._authority", "entra._grant", "entra._page", "entra._secrets",
    "fleet._judging", "fleet._record", "fleet._sealing", "fleet._slot", "fleet._store",
    "identity._connection", "identity._keys", "identity._teams_phone", "identity._wire",
)  # fmt: skip
IO = {"anyio", "asyncio", "trio", "httpx", "httpx2", "msal", "requests", "socket", "ssl", "threading"}


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def names(module: str) -> tuple[str, ...]:
    exported: tuple[str, ...] = getattr(import_module(module), "__all__", ())
    return exported


def command_of_readme() -> str:
    """What the README tells a stranger to run."""
    found = re.search(r"^## Test it$.*?^```\w*\n(.*?)^```$", read("README.md"), re.MULTILINE | re.DOTALL)
    assert found
    return found[1]


def test_ci_runs_the_readmes_test_command() -> None:
    """To the letter."""
    assert len(command_of_readme().splitlines()) <= 2
    assert read(".ci/run").endswith("\n\n" + command_of_readme())
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_the_workflow_runs_the_sessions_of_the_test_command() -> None:
    """Each that `nox` runs where every Python is there, on a machine of its own, and no other."""
    workflow = read(".github/workflows/ci.yml")
    (listed,) = re.findall(r"^ +session: \[(.*)\]$", workflow, re.MULTILINE)
    (named,) = re.findall(r"^nox\.options\.sessions = \[(.*), \*\(f\"tests-", read("noxfile.py"), re.MULTILINE)
    oldest, _, newest = versions = re.findall(r"Python :: (3\.\d+)", read("pyproject.toml"))
    assert {*listed.split(", ")} == {*ast.literal_eval(f"[{named}]"), f"tests-{oldest}", f"tests-{newest}"}
    assert re.findall(r"^ +(3\.\d+)$", workflow, re.MULTILINE) == versions[::-1]
    install, run = command_of_readme().splitlines()
    assert re.findall(r"^ +- run: (.*)$", workflow, re.MULTILINE) == [install, f'{run} -s "$SESSION"']


def test_the_changelog_has_this_version() -> None:
    version = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    assert f"\n## [{version}] - " in read("CHANGELOG.md")


def files_that_name(name: str, *folders: str) -> set[str]:
    found = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".md"})
    return {str(path.relative_to(ROOT)) for path in found if re.search(rf"\b{name}\b", path.read_text("utf-8"))}


@pytest.mark.parametrize(
    ("heading", "name", "folders"),
    [
        ("A new kind of identifier", "TeamsExtensionUserIdentifier", ["anyio_acs_credential", "docs", "tests"]),
        ("A new class of errors", "InvalidIdentifierError", ["docs/reference"]),
    ],
)
def test_contributors_are_told_each_file_that_a_change_touches(heading: str, name: str, folders: list[str]) -> None:
    """The files that name one that is there; and none that is gone."""
    (section,) = re.findall(rf"^### {heading}$(.*?)^##", read("CONTRIBUTING.md"), re.MULTILINE | re.DOTALL)
    told = set(re.findall(r"`([\w./-]+\.(?:py|md|json))`", section))
    assert files_that_name(name, *folders) - {"tests/test_house.py"} <= told
    assert [path for path in told if not (ROOT / path).exists()] == []


def test_requests_say_this_version() -> None:
    assert tomllib.loads(read("pyproject.toml"))["project"]["version"] == VERSION


def test_each_dependency_says_what_it_is_for() -> None:
    """Each requirement in pyproject.toml stands on a line with a comment, alone or with others of one purpose."""
    project = tomllib.loads(read("pyproject.toml"))
    extras, groups = project["project"]["optional-dependencies"], project["dependency-groups"]
    del extras["all"]
    wanted = Counter(project["project"]["dependencies"])
    for requirements in (*extras.values(), *groups.values()):
        wanted.update(requirements)
    explained = [line.partition("  #")[0] for line in read("pyproject.toml").splitlines() if "  #" in line]
    assert {need: sum(f'"{need}"' in line for line in explained) for need in wanted} == wanted


def test_each_promise_has_a_proof_and_each_proof_a_promise() -> None:
    table = promised(read("docs/promises.md"))
    proved = {proof.number for proof in all_proofs()}
    assert len(table) == len(set(table))
    unproved, unpromised = sorted(set(table) - proved), sorted(proved - set(table))
    assert (unproved, unpromised) == ([], [])


def test_the_table_of_promises_is_up_to_date() -> None:
    """`nox -s promises` has nothing to write."""
    table = read("docs/promises.md")
    is_up_to_date = with_proofs(table, all_proofs()) == table
    assert is_up_to_date, "run `nox -s promises` and commit docs/promises.md"


def test_proofs_are_found_wherever_a_mark_may_stand() -> None:
    """On a module, a class, a function, one of its parameters; with one number or several."""
    module = ast.parse("""
pytestmark = [pytest.mark.timeout(9), pytest.mark.promise("R1")]

@pytest.mark.promise("R2", "R3")
class TestOfMany:
    @pytest.mark.promise("R4")
    async def test_method(self): ...

@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.promise("R5"))])
def test_parameter(x): ...

@pytest.mark.timeout(9)
def test_unmarked(): ...
""")
    assert sorted(proofs_in_test("t.py", module)) == [
        Proof("R1", "t.py", ""),
        Proof("R2", "t.py", "TestOfMany"),
        Proof("R3", "t.py", "TestOfMany"),
        Proof("R4", "t.py", "test_method"),
        Proof("R5", "t.py", "test_parameter"),
    ]


@pytest.mark.parametrize("assigned", ["PROMISES = ('R48',)", "PROMISES: Final = ('R48',)"])
def test_a_benchmark_names_what_it_proves(assigned: str) -> None:
    assert list(proofs_in_benchmark("b.py", ast.parse(assigned))) == [Proof("R48", "b.py", "")]


def test_the_proof_column_is_written_anew() -> None:
    """Old proofs go, new ones are grouped by file, and the rest of the page stays as it is."""
    page = "# Title\n\n| Number | Promise | Proof |\n|---|---|---|\n| R1 | Holds. | old |\n| R2 | Lasts. | |\n"
    written = with_proofs(page, [Proof("R1", "tests/a.py", "test_x"), Proof("R1", "tests/a.py", "test_y")])
    assert written.splitlines()[4:] == [
        "| R1 | Holds. | [tests/a.py](../tests/a.py) `test_x`, `test_y` |",
        "| R2 | Lasts. |  |",
    ]
    assert written.startswith(page.partition("| R1")[0])


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_public_names(module: str) -> None:
    """`__all__` is a sorted tuple whose names exist, say where they are imported from, and are documented."""
    loaded = import_module(module)
    exported = names(module)
    assert isinstance(exported, tuple)
    assert list(exported) == sorted(exported)
    assert loaded.__doc__
    for name in exported:
        value = getattr(loaded, name)
        if isclass(value) or isroutine(value):
            assert not re.search(r"\._", value.__module__), f"{name} says that it lives in {value.__module__}"
            assert getdoc(value), f"{name} has no docstring"


def undocumented(value: type) -> list[str]:
    own = {name: member for name, member in vars(value).items() if not name.startswith("_")}
    return [
        name
        for name, member in own.items()
        if (isroutine(member) or isinstance(member, property)) and not getdoc(member)
    ]


@pytest.mark.parametrize("module", PUBLIC_MODULES)
def test_public_methods_are_documented(module: str) -> None:
    classes = [value for name in names(module) if isclass(value := getattr(import_module(module), name))]
    assert {value.__name__: found for value in classes if (found := undocumented(value))} == {}


def test_unknown_names_are_refused_as_modules_refuse_them() -> None:
    with pytest.raises(AttributeError, match="'anyio_acs_credential' has no attribute 'nonsense'"):
        anyio_acs_credential.nonsense  # noqa: B018 - the access is the test


def test_dir_shows_what_is_loaded_lazily() -> None:
    assert set(anyio_acs_credential.__all__) <= set(dir(anyio_acs_credential))


def test_importing_the_package_is_cheap() -> None:
    """Nothing heavy is loaded before it is needed; without a name, nothing at all: the command line begins at once."""
    script = """
import sys
before = set(sys.modules)
import anyio_acs_credential
print(*set(sys.modules) - before)
from anyio_acs_credential import CommunicationTokenCredential, TokenSourceError
print(*{name.partition('.')[0] for name in sys.modules})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603 - our own interpreter
    first, second = done.stdout.splitlines()
    assert first == "anyio_acs_credential"
    assert not set(HEAVY) & set(second.split())


def is_pure(module: str) -> bool:
    inside = module.removeprefix("anyio_acs_credential.")
    return inside in PURE_TOO or inside.partition(".")[0] in PURE


@pytest.mark.parametrize("module", [name for name in map(name_of, MODULES) if is_pure(name)])
def test_what_decides_does_no_io(module: str) -> None:
    """Arrows point one way: a pure module imports nothing that waits, and of this package only what is pure as well."""
    (path,) = (path for path in MODULES if name_of(path) == module)
    found = set(imported(path))
    assert not {name for name in found if name.partition(".")[0] in IO}
    assert all(is_pure(name) for name in found if name.startswith("anyio_acs_credential"))


WHO_LOOKS = """
import sys
from anyio_acs_credential import CommunicationTokenCredential
from anyio_acs_credential.testing import ScriptedSource
import anyio

async def main():
    seen = []
    async with CommunicationTokenCredential(token_refresher=ScriptedSource(3600), observer=seen.append) as credential:
        await credential.get_token()
        seen.extend([credential.statistics(), credential.statistics().state, credential.updates()])
    return seen

print(*{type(each).__module__ for each in anyio.run(main)})
"""


def test_what_is_handed_out_lives_in_the_package_whoever_looks_first() -> None:
    """Also where the program has named none of it."""
    done = subprocess.run([sys.executable, "-c", WHO_LOOKS], capture_output=True, text=True, check=True)  # noqa: S603
    assert set(done.stdout.split()) == {"anyio_acs_credential", "anyio_acs_credential.typing"}


@pytest.mark.parametrize(
    "module",
    ["identity", "identifiers", "_decisions.events", "_decisions.health", "_credentials.pool", "_clients.httpx_auth"],
)
def test_where_a_name_lives_does_not_depend_on_the_way_to_it(module: str) -> None:
    """By its own module first, or by the package."""
    script = f"""
from importlib import import_module
module = import_module("anyio_acs_credential.{module}")
import anyio_acs_credential as package
names = [name for name in package.__all__ if hasattr(getattr(module, name, None), "__qualname__")]
print(len(names) > 0, *{{getattr(module, name).__module__ for name in names}})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.split() == ["True", "anyio_acs_credential"]


FRIENDS = {"_stay_open", "_shut", "_closed", "_watch", "_remaining", "_from_thread"}


def test_only_its_own_modules_know_what_is_private_to_a_credential() -> None:
    """The pool, `otel` and `azure` use the few names that `Lifecycle` lists for them."""
    inside = {PACKAGE / "_credentials" / "credential.py", PACKAGE / "_credentials" / "lifecycle.py"}
    used = set()
    for path in {*(PACKAGE / "_credentials").rglob("*.py"), PACKAGE / "otel.py", PACKAGE / "azure.py"} - inside:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute) and re.fullmatch(r"_[a-z]\w*", node.attr):
                holder = ast.unparse(node.value).rpartition(".")[2]
                used |= {node.attr} if holder in {"credential", "_credential"} else set()
    assert used == FRIENDS


def test_no_call_is_abandoned_in_a_worker_thread() -> None:
    """On asyncio, the interpreter would wait for it at its end: `_loops.own_thread` is for what may hang."""
    assert [name_of(path) for path in MODULES if "abandon_on_cancel" in path.read_text("utf-8")] == []
