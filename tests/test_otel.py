"""OpenTelemetry, with its real SDK: what is traced and measured, and what a bad exporter cannot do."""

from __future__ import annotations

import gc
import importlib
import sys
import threading
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from anyio_acs_credential import (
    AccessToken,
    CommunicationTokenCredential,
    CredentialPool,
    CredentialUsageError,
    RefreshStarted,
    TokenRefreshError,
    TokenSourceError,
)
from anyio_acs_credential._exchange import source
from anyio_acs_credential._http.retries import Limits
from anyio_acs_credential.emulator import open_emulator
from anyio_acs_credential.fleet import MemoryTokenStore, shared
from anyio_acs_credential.otel import instrument
from anyio_acs_credential.testing import ScriptedSource, make_jwt

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from anyio_acs_credential import CredentialEvent

SECRET = "quoted-in-an-error"


@pytest.fixture
def no_blocking_calls() -> None:
    """The SDK's own locks are no fault of the package's."""


class Seen:
    """Where spans and metrics go."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self.traces = TracerProvider()
        self.traces.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.meters = MeterProvider([self.reader])

    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def metrics(self) -> dict[str, list[Any]]:
        data = self.reader.get_metrics_data()
        assert data is not None
        (resource,) = data.resource_metrics
        return {metric.name: list(metric.data.data_points) for metric in resource.scope_metrics[0].metrics}

    def instrument(self, credential: CommunicationTokenCredential, **attributes: str) -> CommunicationTokenCredential:
        return instrument(credential, attributes=attributes, tracer_provider=self.traces, meter_provider=self.meters)


@pytest.fixture
def seen() -> Iterator[Seen]:
    seen = Seen()
    yield seen
    seen.traces.shutdown()
    seen.meters.shutdown()


async def test_a_round_is_a_span_that_is_current_in_the_source(seen: Seen) -> None:
    """Each is a trace of its own, whatever is current where the credential is entered or asked."""
    current: list[int] = []

    async def fetch_token() -> str:
        await anyio.lowlevel.checkpoint()
        current.append(trace.get_current_span().get_span_context().span_id)
        return make_jwt()

    with seen.traces.get_tracer("test").start_as_current_span("startup"):
        credential = seen.instrument(CommunicationTokenCredential(token_refresher=fetch_token), name="bot")
        async with credential:
            await credential.get_token()
            await credential.refresh()
    first, second = [span for span in seen.spans() if span.name == "acs.credential.refresh"]
    assert [span.context.span_id for span in (first, second) if span.context] == current
    assert (first.parent, second.parent) == (None, None)
    assert [(span.attributes or {})["acs.refresh.forced"] for span in (first, second)] == [False, True]
    for span in (first, second):
        assert span.attributes is not None
        assert set(span.attributes) == {"acs.refresh.forced", "acs.token.expires_on", "name"}
        assert span.status.is_unset
        assert (span.start_time or 0) <= (span.end_time or 0)
    metrics = seen.metrics()
    assert [(point.value, dict(point.attributes)) for point in metrics["acs.credential.refreshes"]] == [
        (2, {"name": "bot"})
    ]
    assert metrics["acs.credential.refresh.duration"][0].count == 2


async def test_own_fetches_and_those_of_the_fleet_are_counted_apart(seen: Seen) -> None:
    """Of two credentials that share a store, the first fetches, the second takes that, and fetches the next itself."""
    source = ScriptedSource(3600)
    async with MemoryTokenStore() as store:
        for name, rounds in (("first", 1), ("second", 2)):
            credential = CommunicationTokenCredential(token_refresher=shared(source, store, key="ana"))
            async with seen.instrument(credential, name=name):
                await credential.get_token()
                for _ in range(1, rounds):
                    await credential.refresh()
    points = seen.metrics()["acs.credential.refreshes"]
    counts = {(point.attributes["name"], "acs.refresh.shared" in point.attributes): point.value for point in points}
    assert counts == {("first", False): 1, ("second", True): 1, ("second", False): 1}
    assert [(span.attributes or {}).get("acs.refresh.shared") for span in seen.spans()] == [None, True, None]
    assert source.calls == 2


async def test_a_failure_is_counted_by_its_type_and_never_quoted(seen: Seen) -> None:
    source = ScriptedSource(TokenSourceError(SECRET, permanent=True))
    async with seen.instrument(CommunicationTokenCredential(make_jwt(), token_refresher=source)) as credential:
        with pytest.raises(TokenRefreshError):
            await credential.refresh()
    (span,) = seen.spans()
    assert span.attributes == {
        "acs.refresh.forced": True,
        "error.type": "TokenSourceError",
        "acs.refresh.permanent": True,
    }
    assert (span.status.status_code, span.status.description) == (trace.StatusCode.ERROR, None)
    assert not span.events
    (failures,) = seen.metrics()["acs.credential.failures"]
    assert (failures.value, failures.attributes) == (
        1,
        {"error.type": "TokenSourceError", "acs.refresh.permanent": True},
    )
    assert SECRET not in span.to_json()
    assert "eyJ" not in span.to_json()


async def test_an_exchange_is_a_span_of_its_round(seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the semantic conventions' names, and neither token; one that is refused says so."""
    monkeypatch.setattr(source, "_LIMITS", Limits(backoff=0.01))
    async with open_emulator() as emulator:
        entra = emulator.issue_entra_token("https://communication.azure.com/clients/.default", user="alice")

        class Person:
            async def get_token(self, *_scopes: str) -> Any:
                return type("Token", (), {"token": entra, "expires_on": 2**33})

        import httpx

        async with (
            httpx.AsyncClient(verify=emulator.ssl_context) as client,
            seen.instrument(
                CommunicationTokenCredential(
                    resource_endpoint=emulator.endpoint, token_credential=Person(), http_client=client
                )
            ) as credential,
        ):
            token = await credential.get_token()
            emulator.fail("exchangeAccessToken", status=403)
            with pytest.raises(TokenRefreshError):
                await credential.refresh()
            emulator.heal()
            emulator.reset("exchangeAccessToken")
            with pytest.raises(TokenRefreshError):
                await credential.refresh()
    exchanges = [span for span in seen.spans() if span.name != "acs.credential.refresh"]
    rounds = [span for span in seen.spans() if span.name == "acs.credential.refresh"]
    assert [span.parent and span.parent.span_id for span in exchanges] == [
        span.context and span.context.span_id for span in rounds
    ]
    attributes = [dict(span.attributes or {}) for span in exchanges]
    assert [(each.get("http.response.status_code"), each.get("error.type")) for each in attributes] == [
        (200, None),
        (403, "403"),
        (None, "ServiceError"),
    ]
    for span, each in zip(exchanges, attributes, strict=True):
        assert span.kind is trace.SpanKind.CLIENT
        assert span.name == "POST /access/entra/:exchangeAccessToken"
        assert each["http.request.method"] == "POST"
        assert f"https://{each['server.address']}:{each['server.port']}" == emulator.endpoint
        assert str(each["url.full"]).startswith(emulator.endpoint)
        assert token.token not in span.to_json()
        assert entra not in span.to_json()


async def test_gauges_look_at_all_that_are_alive(seen: Seen) -> None:
    """The soonest end and all waiters, for each set of attributes; who is closed or gone is not looked at."""
    gate = anyio.Event()

    async def blocked() -> str:
        await gate.wait()
        return make_jwt(100)

    def make(user: str) -> CommunicationTokenCredential:
        if user == "waiting":
            return seen.instrument(CommunicationTokenCredential(token_refresher=blocked), kind="slow")
        lives = ScriptedSource(3600 if user == "ada" else 1800)
        return seen.instrument(CommunicationTokenCredential(token_refresher=lives), kind="user")

    async with CredentialPool(make) as pool, anyio.create_task_group() as group:
        for user in ("ada", "bob"):
            async with pool.use(user) as credential:
                await credential.get_token()

        async def wait() -> None:
            async with pool.use("waiting") as credential:
                await credential.get_token()

        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        metrics = seen.metrics()
        remaining = {point.attributes["kind"]: point.value for point in metrics["acs.credential.remaining"]}
        assert 1790 < remaining["user"] <= 1800
        assert remaining["slow"] == 0
        waiting = {point.attributes["kind"]: point.value for point in metrics["acs.credential.waiting"]}
        assert waiting == {"user": 0, "slow": 1}
        gate.set()
    del credential
    gc.collect()
    assert "acs.credential.waiting" not in seen.metrics()


def test_what_is_no_credential_is_refused() -> None:
    with pytest.raises(TypeError, match="not object: instrument each credential"):
        instrument(object())  # type: ignore[type-var]


class Stuck(SpanExporter):
    """An exporter that never comes back."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()

    def export(self, _spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.entered.set()
        self.release.wait()
        return SpanExportResult.FAILURE


async def test_an_exporter_that_hangs_holds_nothing_up() -> None:
    """The rounds go on, and so does the event loop, with the processor that the guide names."""
    exporter, traces = Stuck(), TracerProvider(shutdown_on_exit=False)
    traces.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=1, schedule_delay_millis=1))
    source = ScriptedSource(3600)
    try:
        with anyio.fail_after(40):
            async with instrument(
                CommunicationTokenCredential(token_refresher=source), tracer_provider=traces
            ) as credential:
                await credential.get_token()
                assert await anyio.to_thread.run_sync(exporter.entered.wait, 40)
                for _ in range(20):
                    await credential.refresh()
        assert source.calls == 21
    finally:
        exporter.release.set()
        traces.shutdown()


class Broken(SpanProcessor):
    """A processor and exporter that raise, each in its turn."""

    def __init__(self, where: str) -> None:
        self._where = where

    def on_start(self, *_: object, **_options: object) -> None:
        if self._where == "start":
            raise RuntimeError(SECRET)

    def on_end(self, *_: object) -> None:
        raise RuntimeError(SECRET)


@pytest.mark.parametrize("where", ["start", "end"])
async def test_a_processor_that_raises_breaks_no_round(where: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "anyio_acs_credential")
    traces = TracerProvider()
    traces.add_span_processor(Broken(where))
    source = ScriptedSource(3600)
    async with instrument(CommunicationTokenCredential(token_refresher=source), tracer_provider=traces) as credential:
        await credential.get_token()
        await credential.refresh()
    assert source.calls == 2
    assert SECRET not in caplog.text
    assert "OpenTelemetry raised RuntimeError" in caplog.text


@pytest.mark.promise("R54")
async def test_the_users_observer_is_called_as_before(seen: Seen) -> None:
    """Also one that calls back into its credential, and one that raises."""
    events: list[CredentialEvent] = []

    def observe(event: CredentialEvent) -> None:
        events.append(event)
        credential.statistics()
        credential.updates()
        if type(event) is RefreshStarted:
            raise RuntimeError(SECRET)

    credential = CommunicationTokenCredential(token_refresher=ScriptedSource(3600), observer=observe)
    async with seen.instrument(credential):
        await credential.get_token()
    assert [type(event).__name__ for event in events] == ["RefreshStarted", "RefreshSucceeded", "CredentialClosed"]
    assert len(seen.spans()) == 1


async def test_a_round_that_the_end_cuts_off(seen: Seen) -> None:
    async def never() -> str:
        await anyio.sleep_forever()
        return ""

    async with seen.instrument(CommunicationTokenCredential(token_refresher=never)):
        await anyio.wait_all_tasks_blocked()
    (span,) = seen.spans()
    assert span.attributes == {"acs.refresh.forced": False, "acs.refresh.cancelled": True}


async def test_a_token_that_ends_is_no_round(seen: Seen) -> None:
    """Nor does an event that has no span of its own end that of another."""
    ends = AccessToken("opaque", 5)
    source = ScriptedSource(3600)
    async with seen.instrument(CommunicationTokenCredential(ends, token_refresher=source)) as credential:
        await credential.get_token()
    (span,) = seen.spans()
    assert span.status.is_unset


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "anyio_acs_credential.otel")
    for name in [name for name in sys.modules if name.partition(".")[0] == "opentelemetry"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ImportError, match=r'pip install "anyio-acs-credential\[otel\]"'):
        importlib.import_module("anyio_acs_credential.otel")


async def test_once_and_before_the_block(seen: Seen) -> None:
    credential = CommunicationTokenCredential(token_refresher=ScriptedSource(3600))
    assert seen.instrument(credential) is credential
    with pytest.raises(CredentialUsageError, match="instrument it once, before its block"):
        seen.instrument(credential)
    async with (other := CommunicationTokenCredential(token_refresher=ScriptedSource(3600))):
        with pytest.raises(CredentialUsageError, match="instrument it once, before its block"):
            seen.instrument(other)


def test_a_static_credential_has_gauges_alone(seen: Seen) -> None:
    credential = seen.instrument(CommunicationTokenCredential(make_jwt(100)), name="static")
    (remaining,) = seen.metrics()["acs.credential.remaining"]
    assert 90 < remaining.value <= 100
    credential.get_token_nowait()


async def test_without_an_sdk_nothing_happens() -> None:
    """As in a program that has the API alone: the spans and metrics are OpenTelemetry's own that do nothing."""
    async with instrument(CommunicationTokenCredential(token_refresher=ScriptedSource(3600))) as credential:
        await credential.get_token()
