"""What users test their own code with: virtual clocks and scripted sources."""

from __future__ import annotations

import asyncio
import math
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import jwt
import pytest
from anyio import to_thread
from anyio.abc import ByteStream, SocketAttribute
from anyio.lowlevel import checkpoint

from anyio_acs_credential import AccessKeyAuth, AccessToken, TokenSourceError
from anyio_acs_credential.fleet import MemoryTokenStore
from anyio_acs_credential.testing import ScriptedSource, VirtualClock, make_jwt, virtual_time, virtual_time_backends

START = 1_767_225_600.0
WEEK = 7 * 86_400


@pytest.fixture(params=virtual_time_backends())
def anyio_backend(request: pytest.FixtureRequest) -> object:
    return request.param


@pytest.fixture(params=anyio.get_available_backends())
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


# Virtual time


@pytest.mark.once
async def test_a_week_of_short_sleeps_passes_at_once() -> None:
    """With a real wait of 5 ms for each sleep, it would take longer than a test may."""
    clock = VirtualClock()
    for _ in range(WEEK // 30):
        await anyio.sleep(30)
    assert clock.time() == START + WEEK


@pytest.mark.parametrize("seconds", [0.001, 1 / 3, 59.9, 3600, 86_400 * 400])
async def test_a_sleep_takes_exactly_what_it_asked_for(seconds: float) -> None:
    began = anyio.current_time()
    await anyio.sleep(seconds)
    assert anyio.current_time() - began == pytest.approx(seconds, abs=1e-6)


async def test_sleeping_tasks_wake_in_the_order_of_their_times() -> None:
    woken: dict[float, float] = {}

    async def sleeper(seconds: float) -> None:
        await anyio.sleep(seconds)
        woken[seconds] = anyio.current_time() - began

    began = anyio.current_time()
    async with anyio.create_task_group() as group:
        for seconds in (300, 0.5, 86_400, 30):
            group.start_soon(sleeper, seconds)
    assert list(woken) == [0.5, 30, 300, 86_400]
    assert list(woken.values()) == pytest.approx(list(woken))


async def test_time_stands_still_while_a_task_can_run() -> None:
    began = anyio.current_time()
    for _ in range(100):
        await checkpoint()
    assert anyio.current_time() == began


async def test_a_time_limit_strikes_at_its_time() -> None:
    began = anyio.current_time()
    with anyio.move_on_after(45) as scope:
        await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert anyio.current_time() - began == pytest.approx(45)


async def test_time_stands_still_while_a_socket_has_something_to_say() -> None:
    began = anyio.current_time()
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.send(b"hello")
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep, 3600)
            for _ in range(5):
                await checkpoint()
            await anyio.wait_readable(near)
            assert anyio.current_time() == began
            group.cancel_scope.cancel()


async def test_waiting_until_all_tasks_are_blocked_wakes_none_that_sleeps() -> None:
    """It returns once the others wait, without skipping to the end of their sleep."""
    states: list[str] = []

    async def sleeper() -> None:
        states.append("asleep")
        await anyio.sleep(30)
        states.append("awake")

    async with anyio.create_task_group() as group:
        group.start_soon(sleeper)
        await anyio.wait_all_tasks_blocked()
        assert states == ["asleep"]
    assert states == ["asleep", "awake"]


async def test_a_worker_thread_without_a_time_limit_is_waited_for() -> None:
    assert await to_thread.run_sync(threading.get_ident) != threading.get_ident()


async def test_a_socket_without_a_time_limit_is_waited_for() -> None:
    async def greet(stream: ByteStream) -> None:
        async with stream:
            await stream.send(b"hello")

    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    port = listener.extra_attributes[SocketAttribute.local_port]()
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, greet)
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            assert await stream.receive() == b"hello"
        group.cancel_scope.cancel()


def test_asyncio_waits_for_its_threads_at_the_end() -> None:
    """From 3.12 on it waits for five minutes at most, which are over at once in virtual time."""
    done = threading.Event()

    async def main() -> None:
        asyncio.get_running_loop().run_in_executor(None, done.wait)
        threading.Timer(0.2, done.set).start()

    anyio.run(main, **virtual_time("asyncio"))
    assert done.is_set()


def test_asyncio_gives_a_thread_a_moment_before_it_skips_time() -> None:
    """While a thread runs, time stands still for some real milliseconds at each wait."""

    async def main() -> float:
        done = threading.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(partial(to_thread.run_sync, done.wait))
            await anyio.wait_all_tasks_blocked()
            began = time.perf_counter()
            await anyio.sleep(3600)
            done.set()
        return time.perf_counter() - began

    assert anyio.run(main, **virtual_time("asyncio")) > 0.004


def test_asyncio_gives_a_socket_a_moment_before_it_skips_time() -> None:
    """While a socket is waited for, time stands still for some real milliseconds at each wait."""

    async def listen(near: socket.socket) -> None:
        await anyio.wait_readable(near)

    async def main() -> float:
        near, far = socket.socketpair()
        with near, far:
            near.setblocking(False)
            async with anyio.create_task_group() as group:
                group.start_soon(listen, near)
                await anyio.wait_all_tasks_blocked()
                began = time.perf_counter()
                await anyio.sleep(3600)
                group.cancel_scope.cancel()
            return time.perf_counter() - began

    assert anyio.run(main, **virtual_time("asyncio")) > 0.004


def test_each_run_begins_with_a_clock_at_zero(backend: str) -> None:
    """Also where one set of options serves several runs."""

    async def main() -> float:
        began = anyio.current_time()
        await anyio.sleep(3600)
        return began

    options = virtual_time(backend)
    assert [anyio.run(main, **options) for _ in range(3)] == [0.0, 0.0, 0.0]


def test_the_mock_clock_is_the_one_in_the_options_until_it_is_used() -> None:
    """So that a test may hold it, and jump it by hand."""
    lowlevel = pytest.importorskip("trio.lowlevel")

    async def main() -> object:
        await anyio.sleep(1)
        return lowlevel.current_clock()

    options = virtual_time("trio")
    clock = options["backend_options"]["clock"]
    assert list(options["backend_options"]) == ["clock"]
    assert anyio.run(main, **options) is clock
    assert anyio.run(main, **options) is not clock


def test_another_backend_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"\"asyncio\" and on \"trio\", not on 'curio'"):
        virtual_time("curio")


def test_the_backends_have_readable_ids_and_are_what_anyio_takes() -> None:
    found: dict[str, Any] = {str(parameter.id): parameter.values[0] for parameter in virtual_time_backends()}
    expected = {f"{name}+virtual" for name in anyio.get_available_backends()}
    expected |= {"asyncio+eager+virtual"} if sys.version_info >= (3, 12) else set()
    assert set(found) == expected
    for name, (backend, options) in found.items():
        assert name.startswith(backend)
        anyio.run(anyio.sleep, 3600, backend=backend, backend_options=options)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio has eager tasks from Python 3.12 on")
def test_the_eager_backend_starts_tasks_at_once() -> None:
    started: list[bool] = []

    async def child() -> None:
        started.append(True)

    async def main() -> list[bool]:
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            return list(started)  # noqa: ASYNC121 - what has started by now is the point

    options: Any
    (options,) = (parameter.values[0] for parameter in virtual_time_backends() if "eager" in str(parameter.id))
    assert anyio.run(main, backend="asyncio", backend_options=options[1]) == [True]


# VirtualClock


async def test_both_times_move_with_the_loop() -> None:
    clock = VirtualClock(start=1000)
    began = clock.monotonic()
    assert clock.time() == 1000
    assert began > 0
    await anyio.sleep(3600)
    assert clock.time() == 4600
    assert clock.monotonic() - began == 3600


@pytest.mark.parametrize("seconds", [7200, -86_400, 0.5])
async def test_a_jump_moves_the_wall_clock_alone(seconds: float) -> None:
    clock = VirtualClock()
    began = clock.monotonic()
    clock.jump(seconds)
    assert clock.time() == START + seconds
    assert clock.monotonic() == began
    await anyio.sleep(60)
    assert clock.time() == START + seconds + 60


async def test_a_clock_made_late_in_a_run_begins_at_its_start() -> None:
    await anyio.sleep(1234.5)
    assert VirtualClock(start=0.1).time() == 0.1


async def test_a_worker_thread_reads_the_time_that_was_read_last() -> None:
    clock = VirtualClock()
    await anyio.sleep(5)
    now = clock.time()
    assert now == START + 5
    assert await to_thread.run_sync(clock.time) == now


def test_it_counts_the_whole_of_each_run_and_stands_still_between(backend: str) -> None:
    """A clock made before the loop runs loses nothing, whether it is read early or late."""
    clock = VirtualClock()
    assert clock.time() == START

    async def main() -> float:
        await anyio.sleep(3600)
        return clock.time()

    assert [anyio.run(main, **virtual_time(backend)) for _ in range(3)] == [START + 3600 * n for n in (1, 2, 3)]
    assert clock.time() == START + 3 * 3600


def test_it_goes_on_from_one_backend_to_another() -> None:
    """Each loop's own time begins at zero; the clock never goes back, and makes no leap."""
    clock = VirtualClock()
    seen = [clock.monotonic()]

    async def main() -> None:
        seen.append(clock.monotonic())
        await anyio.sleep(1)
        seen.append(clock.monotonic())

    backends = anyio.get_available_backends() * 2
    for backend in backends:
        anyio.run(main, **virtual_time(backend))
    assert seen == sorted(seen)
    assert seen[-1] - seen[0] == len(backends)


@pytest.mark.parametrize("read", [VirtualClock.time, VirtualClock.monotonic, lambda _clock: VirtualClock()])
def test_in_a_loop_whose_time_is_real_it_raises(backend: str, read: Any) -> None:
    """A test would really sleep there; a thread without a loop, and no loop at all, go on as ever."""
    clock = VirtualClock()

    async def main() -> float:
        for _ in range(2):
            with pytest.raises(
                RuntimeError, match=r"would really sleep: run it with anyio\.run\(main, \*\*virtual_time"
            ):
                read(clock)
        return await to_thread.run_sync(clock.time)

    assert anyio.run(main, backend=backend) == START
    assert clock.time() == START


def test_a_mock_clock_that_serves_two_runs_is_counted_once() -> None:
    clock, mock = VirtualClock(), pytest.importorskip("trio.testing").MockClock(autojump_threshold=0)

    async def main() -> float:
        await anyio.sleep(3600)
        return clock.time()

    options = {"clock": mock}
    assert [anyio.run(main, backend="trio", backend_options=options) for _ in range(2)] == [START + 3600, START + 7200]


async def test_a_second_loop_in_another_thread_does_not_push_it(anyio_backend_name: str) -> None:
    """Reading it there and here by turns adds no loop's time twice."""
    clock = VirtualClock()

    async def elsewhere() -> float:
        began = clock.time()
        await anyio.sleep(10)
        return clock.time() - began

    await anyio.sleep(100)
    assert clock.time() == START + 100
    seen = [clock.time()]
    for _ in range(3):
        run = partial(anyio.run, elsewhere, **virtual_time(anyio_backend_name))
        assert await to_thread.run_sync(run) == 10
        seen.append(clock.time())
    assert seen == sorted(seen)
    assert seen[-1] < START + 200
    await anyio.sleep(1000)
    assert START + 1100 <= clock.time() < START + 1200


# make_jwt


def test_a_jwt_is_what_another_library_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyJWT finds the claims that were asked for; the `time` module is looked up when it is called."""
    monkeypatch.setattr(time, "time", lambda: 1000.75)
    text = make_jwt(60.5, skypeid="acs:1", nothing=None)
    claims = jwt.decode(text, options={"verify_signature": False})
    assert len(claims.pop("jti")) > 16
    assert claims == {"exp": 1061, "iat": 1000, "skypeid": "acs:1", "nothing": None}
    assert jwt.get_unverified_header(text) == {"alg": "HS256", "typ": "JWT"}


def test_a_jwt_lives_an_hour_by_the_clock_that_it_is_given() -> None:
    token = AccessToken.from_jwt(make_jwt(clock=VirtualClock(start=500)))
    assert token.expires_on == 4100


def test_a_claim_wins_over_the_one_that_would_be_made() -> None:
    claims = AccessToken.from_jwt(make_jwt(exp=12, jti="mine", iat=None)).claims
    assert claims == {"exp": 12, "iat": None, "jti": "mine"}


def test_no_two_jwts_are_alike() -> None:
    assert len({make_jwt(clock=VirtualClock()) for _ in range(100)}) == 100


@pytest.mark.parametrize("make", [make_jwt, ScriptedSource])
@pytest.mark.parametrize(
    ("lives", "error", "fix"),
    [
        (
            START + 3600,
            ValueError,
            "not a point in time: take the present time off it, or give make_jwt.exp=1767229200",
        ),
        (1000 * START, ValueError, "not a point in time in milliseconds: .* make_jwt.exp=1767225600"),
        (946_684_800, ValueError, "not a point in time"),
        (float("nan"), ValueError, "a life is a finite number of seconds from now: an hour is 3600"),
        (float("inf"), ValueError, "a life is a finite number of seconds from now"),
        (float("-inf"), ValueError, "a life is a finite number of seconds from now"),
    ],
)
def test_a_life_that_is_none_is_refused(make: Any, lives: Any, error: type[Exception], fix: str) -> None:
    """With a Unix time in its place, a test would never see the token end."""
    with pytest.raises(error, match=fix):
        make(lives)


@pytest.mark.parametrize("lives", ["3600", None, timedelta(hours=1), True])
def test_a_life_of_a_jwt_that_is_no_number_is_refused(lives: Any) -> None:
    with pytest.raises(TypeError, match=f"a life is a number of seconds from now, not {type(lives).__name__}"):
        make_jwt(lives)


@pytest.mark.parametrize("lives", [-3600, 0, 0.5, 86_400 * 400, 946_684_799, 86_400 * 365 * 100])
def test_lives_that_a_test_may_mean(lives: float) -> None:
    clock = VirtualClock(start=START)
    assert AccessToken.from_jwt(make_jwt(lives, clock=clock)).expires_on == int(START + lives)


# ScriptedSource


async def _play(*script: Any, calls: int) -> list[object]:
    source = ScriptedSource(*script, clock=VirtualClock())
    played: list[object] = []
    for _ in range(calls):
        try:
            played.append(await source())
        except (OSError, TokenSourceError) as error:
            played.append(error)
    assert source.calls == calls
    return played


@pytest.mark.parametrize(("lives", "expires_on"), [(3600, START + 3600), (0.75, START), (-10, START - 10), (0, START)])
async def test_a_number_is_a_new_token_that_lives_so_long(lives: float, expires_on: float) -> None:
    first, second = await _play(lives, calls=2)
    assert isinstance(first, AccessToken)
    assert isinstance(second, AccessToken)
    assert first.token != second.token
    assert first.expires_on == second.expires_on == expires_on
    assert first.claims["exp"] == expires_on


async def test_a_token_and_a_text_are_returned_as_they_are() -> None:
    token = AccessToken("opaque", 12)
    played = await _play(token, "no token at all", calls=2)
    assert played[0] is token
    assert played[1] == "no token at all"


async def test_an_exception_or_a_class_of_them_is_raised() -> None:
    error = TokenSourceError("down")
    assert [type(found) for found in await _play(error, OSError, calls=2)] == [TokenSourceError, OSError]


async def test_one_exception_raised_again_and_again_does_not_grow() -> None:
    """Its traceback has as many frames at the tenth call as at the first."""
    error, lengths = ValueError("down"), []
    source = ScriptedSource(error)
    for _ in range(10):
        with pytest.raises(ValueError, match="down") as caught:
            await source()
        assert caught.value is error
        lengths.append(len(caught.traceback))
    assert len(set(lengths)) == 1


async def test_an_async_callable_is_awaited() -> None:
    async def answer() -> AccessToken:
        await anyio.sleep(1)
        return AccessToken("made", 34)

    assert await _play(answer, calls=1) == [AccessToken("made", 34)]


async def test_the_last_entry_is_repeated() -> None:
    played = await _play("one", OSError, "three", calls=5)
    assert [type(entry).__name__ if isinstance(entry, OSError) else entry for entry in played] == [
        "one",
        "OSError",
        "three",
        "three",
        "three",
    ]


async def test_the_latency_comes_before_the_token() -> None:
    """A token lives from the moment at which it is handed out."""
    clock = VirtualClock()
    token = await ScriptedSource(60, latency=10, clock=clock)()
    assert isinstance(token, AccessToken)
    assert clock.time() == START + 10
    assert token.expires_on == START + 70


async def test_without_latency_other_tasks_run_all_the_same() -> None:
    source, order = ScriptedSource("token"), []

    async def call(name: str) -> None:
        order.append(f"{name} asks")
        await source()
        order.append(f"{name} has it")

    async with anyio.create_task_group() as group:
        group.start_soon(call, "a")
        group.start_soon(call, "b")
    assert {entry[2:] for entry in order[:2]} == {"asks"}


async def test_it_counts_the_calls_in_flight() -> None:
    source = ScriptedSource(60, OSError, latency=5, clock=VirtualClock())

    async def call() -> None:
        with pytest.raises(OSError) if source.calls else anyio.CancelScope():  # noqa: PT011
            await source()

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        group.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        assert (source.calls, source.in_flight, source.most_in_flight) == (2, 2, 2)
    assert (source.calls, source.in_flight, source.most_in_flight) == (2, 0, 2)


async def test_a_cancelled_call_is_no_longer_in_flight() -> None:
    source = ScriptedSource("one", "two", latency=5)
    with anyio.move_on_after(1) as scope:
        await source()
    assert scope.cancelled_caught
    assert (source.calls, source.in_flight) == (1, 0)
    assert await source() == "two"


def test_an_empty_script_is_refused() -> None:
    with pytest.raises(ValueError, match=r"one entry at least: ScriptedSource\(3600\)"):
        ScriptedSource()


@pytest.mark.parametrize(
    ("entry", "name"),
    [(True, "bool"), (None, "NoneType"), (b"bytes", "bytes"), (object(), "object"), (dict, "the class dict")],
)
def test_an_entry_of_another_kind_is_refused(entry: Any, name: str) -> None:
    with pytest.raises(TypeError, match=f"not {name}\n"):
        ScriptedSource(60, entry)


@pytest.mark.parametrize(
    ("latency", "kind", "says"),
    [
        (-1, ValueError, "not negative, not -1: leave it out"),
        (math.nan, ValueError, "finite and not negative, not nan"),
        (math.inf, ValueError, "finite and not negative, not inf"),
        ("1", TypeError, "latency is a number of seconds, not str"),
        (timedelta(seconds=1), TypeError, "not timedelta"),
        (None, TypeError, "not NoneType"),
    ],
)
def test_a_latency_that_cannot_be_is_refused(latency: Any, kind: type[Exception], says: str) -> None:
    """When the source is made, and not in the round that would wait for it."""
    with pytest.raises(kind, match=says) as raised:
        ScriptedSource("text", latency=latency)
    assert "#scripted-source" in raised.value.__notes__[0]


@pytest.mark.parametrize("clock", [VirtualClock, time.time, None])
def test_a_clock_that_is_none_is_refused_by_whatever_takes_one(clock: Any) -> None:
    for make in (
        lambda: ScriptedSource(3600, clock=clock),
        lambda: make_jwt(clock=clock),
        lambda: AccessKeyAuth("a2V5", clock=clock),
        lambda: MemoryTokenStore(clock=clock),
    ):
        with pytest.raises(
            TypeError, match=r"clock is an object with time\(\), not (the class V|builtin|NoneType)"
        ) as raised:
            make()
        assert "#clock" in raised.value.__notes__[0]


# This test suite


async def test_a_call_that_would_block_the_event_loop_is_found(anyio_backend_name: str) -> None:
    """No code of this package blocks asyncio's loop unnoticed in any test."""
    blockbuster = pytest.importorskip("blockbuster")
    if anyio_backend_name != "asyncio":
        pytest.skip("only asyncio's loop is watched")

    async def blocks() -> str:
        time.sleep(0)  # noqa: ASYNC251
        return "token"

    with pytest.raises(blockbuster.BlockingError, match=r"time\.sleep"):
        await ScriptedSource(blocks)()


# The package


def test_importing_it_loads_no_test_runner_no_trio_and_no_jwt() -> None:
    program = "import anyio_acs_credential.testing, sys; print({'pytest', 'trio', 'jwt'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.strip() == "set()"
