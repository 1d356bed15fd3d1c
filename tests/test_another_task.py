"""Entered in one task and left in another, left out of order, or never left: what fixtures and notebooks do."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
import textwrap
import threading
import unittest
import warnings
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from cancelling import tasks
from test_cancellation import NEVER, TOKEN, asyncio_only, hanging, quick

from anyio_acs_credential import (
    AccessKeyCredential,
    AccessToken,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    CredentialClosedError,
    CredentialPool,
    CredentialUsageError,
)
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.entra import DeviceCodeCredential

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.promise("R47")


def credential_of(source: Any = quick) -> CommunicationTokenCredential:
    return CommunicationTokenCredential(token_refresher=source)


def pool_of(_source: Any = quick) -> CredentialPool[str]:
    return CredentialPool(lambda _key: credential_of(hanging))


async def in_another_task(call: Any, *arguments: Any) -> None:
    """As a fixture's two halves: a task of its own, which ends."""
    async with anyio.create_task_group() as group:  # noqa: ASYNC112 - another task is the point
        group.start_soon(call, *arguments)


async def leave(block: Any, error: BaseException | None = None) -> None:
    assert not await block.__aexit__(None if error is None else type(error), error, None)


async def refuse_to_leave(block: Any) -> None:
    with pytest.raises(CredentialUsageError, match="left where it cannot be"):
        await block.__aexit__(None, None, None)


@asyncio_only
@pytest.mark.parametrize("make", [credential_of, pool_of])
@pytest.mark.parametrize("source", [quick, hanging])
async def test_on_asyncio_it_may_be_entered_and_left_in_other_tasks(make: Any, source: Any) -> None:
    """Nothing is raised, nothing runs on, and it can be entered again."""
    before = tasks()
    block = make(source)
    for _ in range(2):
        await in_another_task(block.__aenter__)
        await anyio.wait_all_tasks_blocked()
        assert tasks() > before
        await in_another_task(leave, block)
        assert tasks() == before
        with pytest.raises(CredentialClosedError):
            await (block.get_token() if make is credential_of else block.discard("alice"))


@asyncio_only
async def test_on_asyncio_it_works_between() -> None:
    credential = credential_of()
    pool: CredentialPool[str] = CredentialPool(lambda _key: credential_of())
    await in_another_task(credential.__aenter__)
    await in_another_task(pool.__aenter__)
    assert (await credential.get_token()).token == "fetched"
    async with pool.use("alice") as alice:
        assert (await alice.refresh()).token == "fetched"
    await in_another_task(leave, credential)
    await in_another_task(leave, pool)


@asyncio_only
async def test_on_asyncio_several_may_be_left_in_any_order() -> None:
    """Also inside scopes that the same task has entered meanwhile."""
    first, second = credential_of(), credential_of()
    await first.__aenter__()
    with anyio.CancelScope():
        await second.__aenter__()
        await leave(first)
    assert (await second.get_token()).token == "fetched"
    await leave(second)


@asyncio_only
async def test_what_leaves_in_another_task_may_be_cancelled() -> None:
    """The service is waited for all the same, and the cancellation is not swallowed."""
    left = anyio.Event()

    async def slow_to_end() -> AccessToken:
        try:
            return await hanging()
        finally:
            with anyio.CancelScope(shield=True):
                await left.wait()

    credential, before = credential_of(slow_to_end), tasks()
    await in_another_task(credential.__aenter__)
    await anyio.wait_all_tasks_blocked()
    leaving = asyncio.create_task(leave(credential))
    for _ in range(2):  # the second finds it shielded
        await anyio.wait_all_tasks_blocked()
        leaving.cancel()
    await anyio.wait_all_tasks_blocked()
    assert not leaving.done()
    left.set()
    await asyncio.wait([leaving], timeout=10)
    assert leaving.cancelled()
    assert tasks() == before


@asyncio_only
async def test_a_cancellation_while_leaving_does_not_replace_the_bodys_error() -> None:
    """As with a task group: what the body raised goes before."""
    asked, leaving, left = anyio.Event(), anyio.Event(), anyio.Event()

    async def slow_to_end() -> AccessToken:
        asked.set()
        try:
            return await hanging()
        finally:
            with anyio.CancelScope(shield=True):
                await left.wait()

    async def body() -> None:
        async with credential_of(slow_to_end):
            await asked.wait()
            leaving.set()
            raise ValueError("body")

    host = asyncio.create_task(body())
    await leaving.wait()
    await anyio.wait_all_tasks_blocked()
    host.cancel()
    await anyio.wait_all_tasks_blocked()
    left.set()
    with pytest.raises(ValueError, match="body"):
        await host


@asyncio_only
async def test_what_ends_a_program_is_told_where_it_is_left() -> None:
    """A task that has ended cannot be told; who leaves is."""
    error = BaseExceptionGroup("several", [KeyboardInterrupt()])

    async def source() -> AccessToken:
        await checkpoint()
        raise error

    credential = credential_of(source)
    await in_another_task(credential.__aenter__)
    await anyio.wait_all_tasks_blocked()
    with pytest.raises(CredentialClosedError):
        await credential.get_token()
    with pytest.raises(BaseExceptionGroup) as caught:
        await credential.__aexit__(None, None, None)
    assert caught.value is error
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


@asyncio_only
async def test_the_body_that_was_told_is_cancelled_no_further() -> None:
    """Its cancellation is taken back, once what ended the task has left the block."""
    error = BaseExceptionGroup("several", [KeyboardInterrupt()])

    async def source() -> AccessToken:
        await checkpoint()
        raise error

    with pytest.raises(BaseExceptionGroup) as caught:
        async with credential_of(source):
            await anyio.sleep_forever()
    assert caught.value is error
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await checkpoint()


@asyncio_only
async def test_a_task_that_is_cancelled_before_its_first_step_closes_it() -> None:
    """Nobody waits for what never began."""
    async with credential_of() as credential:
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == "access token refresh"]
        task.cancel()
        with anyio.fail_after(10), pytest.raises(CredentialClosedError):
            await credential.refresh()


@asyncio_only
async def test_on_asyncio_the_emulator_may_be_left_in_another_task() -> None:
    """It answers between, and ends."""
    before, block, opened = tasks(), open_emulator(), []

    async def enter() -> None:
        opened.append(await block.__aenter__())

    await in_another_task(enter)
    (emulator,) = opened
    async with httpx.AsyncClient(verify=emulator.ssl_context) as client:
        assert (await client.get(f"{emulator.endpoint}/nowhere")).status_code == 404
    await in_another_task(leave, block)
    assert tasks() == before


def emulator_of(_source: Any = quick) -> Any:
    return open_emulator()


@pytest.mark.parametrize("make", [credential_of, pool_of, emulator_of])
async def test_on_trio_another_task_is_refused_and_harms_nothing(make: Any, anyio_backend_name: str) -> None:
    """The message names the fix, and the task that entered can still leave."""
    if anyio_backend_name != "trio":
        pytest.skip("asyncio can do it")
    block = make(hanging)
    async with block as entered:
        await in_another_task(refuse_to_leave, block)
        if make is emulator_of:
            async with httpx.AsyncClient(verify=entered.ssl_context) as client:
                assert (await client.get(f"{entered.endpoint}/nowhere")).status_code == 404
        with pytest.raises(CredentialUsageError, match="open already"):
            await block.__aenter__()


@pytest.mark.parametrize("outer", [credential_of, pool_of, emulator_of])
@pytest.mark.parametrize("inner", [credential_of, pool_of, emulator_of])
async def test_on_trio_what_is_left_out_of_order_closes_what_was_entered_since(
    outer: Any, inner: Any, anyio_backend_name: str
) -> None:
    """Trio would end the whole run. The message names the fix, and all of them can be entered again."""
    if anyio_backend_name != "trio":
        pytest.skip("asyncio can do it")
    first, second, credential, before = outer(), inner(), credential_of(), tasks()
    for _ in range(2):
        for block in (first, second, credential):
            await block.__aenter__()
        with pytest.raises(CredentialUsageError, match="leave in the reverse order"):
            await first.__aexit__(None, None, None)
        assert tasks() == before
        with pytest.raises(CredentialClosedError):
            await credential.get_token()
        await leave(second)
        await leave(credential)
    async with first, second, credential:
        assert (await credential.get_token()).token == "fetched"


async def test_on_trio_the_bodys_error_goes_before_that_of_leaving_out_of_order(anyio_backend_name: str) -> None:
    if anyio_backend_name != "trio":
        pytest.skip("asyncio can do it")
    first, second, error = credential_of(), credential_of(), ValueError()
    await first.__aenter__()
    await second.__aenter__()
    await leave(first, error)
    assert "leave in the reverse order" in error.__notes__[0]
    await leave(second, error)
    assert len(error.__notes__) == 1


async def test_on_trio_what_is_left_before_a_task_group_of_the_programs_own_is_trios_to_tell() -> None:
    trio = pytest.importorskip("trio")

    async def main() -> None:
        credential = credential_of()
        await credential.__aenter__()
        await trio.open_nursery().__aenter__()
        await credential.__aexit__(None, None, None)

    with pytest.raises(RuntimeError, match="Nursery stack corrupted"):
        await anyio.to_thread.run_sync(trio.run, main)


async def test_its_own_source_cannot_leave_it() -> None:
    """It would wait for itself."""

    async def source() -> AccessToken:
        await refuse_to_leave(credential)
        return AccessToken("fetched", NEVER)

    credential = credential_of(source)
    with anyio.fail_after(10):
        async with credential:
            assert (await credential.get_token()).token == "fetched"


@pytest.mark.parametrize("make", [credential_of, pool_of, emulator_of])
async def test_another_event_loop_cannot_leave_it_while_its_own_runs(make: Any, anyio_backend_name: str) -> None:
    """Nor harm it."""

    async def elsewhere() -> None:
        with pytest.raises(CredentialUsageError, match="left in another event loop"):
            await block.__aexit__(None, None, None)
        with pytest.raises(CredentialUsageError, match="open already"):
            await block.__aenter__()

    block = make()
    async with block:
        await anyio.to_thread.run_sync(lambda: anyio.run(elsewhere, backend=anyio_backend_name))
        if make is credential_of:
            assert (await block.get_token()).token == "fetched"


def sign_in() -> DeviceCodeCredential:
    return DeviceCodeCredential("client")


def identity() -> CommunicationIdentityClient:
    return CommunicationIdentityClient("https://contoso.communication.azure.com", AccessKeyCredential("a2V5"))


@pytest.mark.promise("R46")
@pytest.mark.parametrize("make", [credential_of, pool_of, sign_in, identity, emulator_of])
async def test_entered_twice_at_once_or_nested(make: Any) -> None:
    """The second is refused, names the fix, and leaves the first as it is."""
    block = make()
    async with block:
        kept = block._msal._kept if make is sign_in else None

        async def refused() -> None:
            with pytest.raises(CredentialUsageError, match="open already: enter it once"):
                async with block:
                    raise AssertionError("entered")

        await refused()
        await in_another_task(refused)
        if make is sign_in:
            assert block._msal._kept is kept is not None
        if make is identity:
            assert not block._open.is_closed
        if make is credential_of:
            assert (await block.get_token()).token == "fetched"
    for _ in range(2):
        async with block:
            pass
    with pytest.raises(CredentialUsageError, match="left, and never entered"):
        await block.__aexit__(None, None, None)


@pytest.mark.promise("R46")
@pytest.mark.parametrize("make", [sign_in, identity])
def test_what_holds_connections_is_entered_again_after_its_loop(make: Any) -> None:
    block = make()
    asyncio.run(block.__aenter__())

    async def late() -> None:
        await leave(block)

    async def again() -> None:
        async with block:
            pass

    asyncio.run(again())
    asyncio.run(block.__aenter__())
    asyncio.run(late())
    asyncio.run(again())


LOST = """
import asyncio, gc, sys
import anyio
from anyio_acs_credential import AccessToken, CommunicationTokenCredential, CredentialPool

async def quick():
    return AccessToken("canary-4f1b", 4_000_000_000)

credential = CommunicationTokenCredential(token_refresher=quick)
pool = CredentialPool(lambda key: CommunicationTokenCredential(token_refresher=quick))

async def main():
    await credential.__aenter__()
    await credential.get_token()
    await pool.__aenter__()
    await pool.use("alice").__aenter__()
    print("entered", flush=True)

RUN
"""
ENDS = {
    "asyncio.run": "asyncio.run(main())",
    "anyio.run": "anyio.run(main)",
    "dropped in the loop": """
async def dropped():
    global credential, pool
    await main()
    del credential, pool
    gc.collect()
    await asyncio.sleep(0.01)
    gc.collect()

asyncio.run(dropped())
""",
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.once
def test_one_that_is_never_left_says_little_at_the_end(end: str) -> None:
    """At most that the task was cancelled, in a line for each: no traceback, and no task that is pending."""
    found = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-W", "default", "-c", LOST.replace("RUN", ENDS[end])],
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    assert found.stdout == "entered\n"
    assert len(found.stderr.splitlines()) <= 3, found.stderr
    assert "Traceback" not in found.stderr
    assert "canary" not in found.stderr


@pytest.mark.promise("R46")
@pytest.mark.parametrize("cleanly", [True, False], ids=["tasks cancelled", "tasks left pending"])
@pytest.mark.parametrize("leaves", [True, False], ids=["left late", "never left"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_entered_again_after_its_event_loop_was_closed(cleanly: bool, leaves: bool) -> None:
    """What was open in a loop that has ended is open no more; leaving it late is no error."""
    credential, pool, static = credential_of(), pool_of(), CommunicationTokenCredential(TOKEN)
    blocks: list[Any] = [credential, pool, static]

    async def enter() -> None:
        for block in blocks:
            await block.__aenter__()
        assert (await credential.get_token()).token == "fetched"

    async def late() -> None:
        for block in blocks:
            await leave(block)
            with pytest.raises(CredentialUsageError, match="left, and never entered"):
                await leave(block)

    async def again() -> None:
        async with credential, pool, static:
            assert (await credential.refresh()).token == "fetched"

    if cleanly:
        asyncio.run(enter())
    else:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda _loop, _context: None)  # asyncio's own word about the pending tasks
        loop.run_until_complete(enter())
        loop.close()
        del loop  # with which go what ran in it, once its blocks are forgotten
    if leaves:
        asyncio.run(late())
    asyncio.run(again())
    asyncio.run(again())
    gc.collect()


@pytest.mark.promise("R46")
def test_entered_again_after_a_run_of_trio() -> None:
    trio, static = pytest.importorskip("trio"), CommunicationTokenCredential(TOKEN)
    trio.run(static.__aenter__)
    trio.run(use_static, static)
    asyncio.run(use_static(static))


async def use_static(credential: CommunicationTokenCredential) -> None:
    async with credential:
        assert await credential.get_token() is TOKEN


@pytest.mark.promise("R46")
async def test_an_emulator_that_could_not_be_entered_is_not_open() -> None:
    """It says so each time, and the same block can be entered once the port is free."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        block = open_emulator(port=port)
        for _ in range(2):
            with pytest.raises(OSError, match="choose another"):
                await block.__aenter__()
        with pytest.raises(CredentialUsageError, match="left, and never entered"):
            await leave(block)
    async with block as emulator:
        assert emulator.endpoint.endswith(f":{port}")


@pytest.mark.promise("R46")
def test_an_emulator_whose_loop_has_ended_is_left_late_and_entered_again() -> None:
    block = open_emulator()
    asyncio.run(block.__aenter__())

    async def late() -> None:
        await leave(block)

    async def again() -> None:
        async with block:
            pass

    asyncio.run(late())
    asyncio.run(again())
    asyncio.run(block.__aenter__())
    asyncio.run(again())


CRASHED_ON_TRIO = """
try:
    trio.run(main)
except BaseException as error:
    print(type(error).__name__)

async def again():
    async with credential, pool:
        print((await credential.refresh()).token)

trio.run(again)
asyncio.run(again())
"""


@pytest.mark.promise("R46")
@pytest.mark.once
def test_entered_again_after_a_run_of_trio_that_crashed() -> None:
    """It ended with the block open, which trio takes amiss; the next run knows nothing of it."""
    pytest.importorskip("trio")
    program = LOST.replace("import anyio\n", "import anyio, trio\n").replace("RUN", CRASHED_ON_TRIO)
    found = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=True
    )
    assert found.stdout.splitlines()[-2:] == ["canary-4f1b"] * 2


def test_unittests_own_async_contexts() -> None:
    class Case(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self) -> None:
            self.credential = await self.enterAsyncContext(credential_of())
            self.pool = await self.enterAsyncContext(pool_of())

        async def test_it(self) -> None:
            assert (await self.credential.get_token()).token == "fetched"

    result = unittest.TestResult()
    Case("test_it").run(result)
    assert (result.testsRun, result.errors, result.failures) == (1, [], [])
    assert not [thread for thread in threading.enumerate() if "asyncio" in thread.name]


FIXTURES = """
import pytest, pytest_asyncio
from anyio_acs_credential import AccessToken, CommunicationTokenCredential, CredentialPool

async def quick():
    return AccessToken("fetched", 4_000_000_000)

def make(key=None):
    return CommunicationTokenCredential(token_refresher=quick)

@pytest_asyncio.fixture
async def credential():
    async with make() as credential:
        yield credential

@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def pool():
    async with CredentialPool(make) as pool:
        yield pool

@pytest.mark.asyncio
@pytest.mark.parametrize("number", [1, 2])
async def test_function_scope(credential, number):
    assert (await credential.refresh()).token == "fetched"

@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize("number", [1, 2])
async def test_session_scope(pool, number):
    async with pool.use("alice") as alice:
        assert (await alice.get_token()).token == "fetched"
"""
AIOHTTP = """
from aiohttp import web
from anyio_acs_credential import AccessToken, CommunicationTokenCredential

async def quick():
    return AccessToken("fetched", 4_000_000_000)

async def opened(app):
    async with CommunicationTokenCredential(token_refresher=quick) as app["credential"]:
        yield

async def answer(request):
    return web.Response(text=(await request.app["credential"].get_token()).token)

async def test_it(aiohttp_client):
    app = web.Application()
    app.cleanup_ctx.append(opened)
    app.router.add_get("/", answer)
    client = await aiohttp_client(app)
    assert await (await client.get("/")).text() == "fetched"
"""
CRASHED = (
    FIXTURES.partition("@pytest.mark.asyncio\n")[0]
    + """
@pytest.mark.asyncio
async def test_that_fails(credential):
    raise ValueError("the test's own")
"""
)


STRICT = ["-W", "error", "-o", "asyncio_default_fixture_loop_scope=function"]


def run_pytest(folder: Path, text: str, *options: str) -> tuple[int, str]:
    """The status and the output of tests in a process of their own, with the real plugins."""
    (folder / "test_it.py").write_text(textwrap.dedent(text), "utf-8")
    found = subprocess.run(  # noqa: S603 - our own program
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "-W",
            "error",
            "-o",
            "asyncio_default_fixture_loop_scope=function",
            *options,
            "test_it.py",
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return found.returncode, found.stdout + found.stderr


CELLS = [
    """
from anyio_acs_credential import AccessToken, CommunicationTokenCredential

async def quick():
    return AccessToken("fetched", 4_000_000_000)

credential = await CommunicationTokenCredential(token_refresher=quick).__aenter__()
""",
    "print((await credential.get_token()).token)",
    "await credential.__aexit__(None, None, None)\nprint(credential.statistics().state)",
]


@pytest.mark.once
def test_in_two_cells_of_a_notebook() -> None:
    """Each cell is a task of its own."""
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in CELLS])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # those of Jupyter's own
        nbclient.NotebookClient(notebook, timeout=50, kernel_name="python3").execute()
    said = ["".join(output["text"] for output in cell["outputs"]) for cell in notebook["cells"]]
    assert said[:2] == ["", "fetched\n"]


VIRTUAL = """
import anyio, pytest
from anyio_acs_credential import CommunicationTokenCredential
from anyio_acs_credential.testing import ScriptedSource, VirtualClock, virtual_time_backends

@pytest.fixture(params=virtual_time_backends())
def anyio_backend(request):
    return request.param

@pytest.mark.anyio
async def test_a_week():
    clock = VirtualClock()
    source = ScriptedSource(86_400, clock=clock)
    async with CommunicationTokenCredential(token_refresher=source, clock=clock):
        await anyio.sleep(7 * 86_400)
    assert source.calls == 8

@pytest.fixture
async def credential(anyio_backend):
    clock = VirtualClock()
    source = ScriptedSource(86_400, clock=clock)
    async with CommunicationTokenCredential(token_refresher=source, clock=clock) as credential:
        yield credential

@pytest.mark.anyio
async def test_of_a_fixture(credential):
    await credential.get_token()
"""


@pytest.mark.once
def test_virtual_time_beside_pytest_asyncio(tmp_path: Path) -> None:
    """In its strict mode anyio's plugin runs them; in its auto mode it takes them, and they fail at once."""
    if not find_spec("pytest_asyncio"):
        pytest.skip("the plugin is not installed")
    status, said = run_pytest(tmp_path, VIRTUAL)
    assert status == 0, said
    status, said = run_pytest(tmp_path, VIRTUAL, "--asyncio-mode=auto")
    assert status == 1
    assert "a VirtualClock is in an event loop whose time is real" in said
    assert "Task got bad yield" in said  # the fixture ran on trio, and its test on asyncio


@pytest.mark.parametrize(
    ("text", "options", "outcome"),
    [
        (FIXTURES, [], "4 passed"),
        (FIXTURES, ["--asyncio-mode=auto"], "4 passed"),
        (AIOHTTP, ["--asyncio-mode=auto", "-W", "ignore::aiohttp.web.NotAppKeyWarning"], "1 passed"),
        (CRASHED, [], "1 failed"),
    ],
    ids=["strict", "auto", "aiohttp", "a test that fails"],
)
@pytest.mark.once
def test_with_pytest_asyncio(tmp_path: Path, text: str, options: list[str], outcome: str) -> None:
    """Its fixtures are left in another task than they were entered in, at the end of a test or of the session."""
    if not find_spec("pytest_asyncio") or not find_spec("pytest_aiohttp"):
        pytest.skip("its plugins are not installed")
    _, said = run_pytest(tmp_path, text, *options)
    assert outcome in said.splitlines()[-1]
    assert " error" not in said.splitlines()[-1]
    assert "another task" not in said
