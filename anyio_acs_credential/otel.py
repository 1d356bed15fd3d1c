"""OpenTelemetry: spans for rounds and exchanges, and metrics of how credentials stand.

A round and an exchange are spans; a slow exporter, or one that raises, never delays or breaks them. The names of
attributes are those of OpenTelemetry's semantic conventions where these have one, and begin with `acs.` elsewhere.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager, suppress
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from ._common.errors import explained, wrong_type
from ._common.extras import missing_extra
from ._credentials.credential import CommunicationTokenCredential
from ._decisions.events import CredentialClosed, RefreshFailed, RefreshStarted, RefreshSucceeded
from ._tokens.token_source import Around

try:
    from opentelemetry import context, metrics, trace
    from opentelemetry.metrics import Observation
    from opentelemetry.trace import SpanKind, Status, StatusCode
except ModuleNotFoundError as _missing:
    raise explained(
        "extra-missing", ImportError(missing_extra("OpenTelemetry's API", "otel"), name=_missing.name)
    ) from _missing


if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from opentelemetry.metrics import CallbackOptions, MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from ._decisions.events import CredentialEvent
    from ._tokens.token_source import TokenSource

__all__ = ("instrument",)

Credential = TypeVar("Credential", bound="CommunicationTokenCredential")
Attributes = dict[str, str | int | float | bool]

_SCOPE = "anyio_acs_credential"
_logger = logging.getLogger(_SCOPE)


def instrument(
    credential: Credential,
    *,
    attributes: Mapping[str, str | int | float | bool] | None = None,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> Credential:
    """Have a credential's rounds and exchanges traced, and its state measured.

    Call it before the credential's block, such as in a pool's `make`:
    `CredentialPool(lambda user: instrument(make(user)))`. Each round is a trace of its own, "acs.credential.refresh",
    whose span is the current one while the source runs; each exchange of an Entra token is a client's span in it.
    Reading a fresh token runs the same code as before.

    The metrics are `acs.credential.refreshes`, `acs.credential.failures`, `acs.credential.refresh.duration` (seconds),
    `acs.credential.remaining` (seconds until the first of the held tokens ends; 0 where one has ended) and
    `acs.credential.waiting` (tasks that wait for a round). The last two look at all credentials that are alive.

    Args:
        credential: The credential, of whatever kind. A static one has no rounds.
        attributes: Further attributes of its spans and metrics, such as {"acs.credential.name": "bot"}. Each set of
            values is a time series: keep them few where there are many users.
        tracer_provider: Where spans go; None for the global one.
        meter_provider: Where metrics go; None for the global one.

    Returns:
        The credential itself.

    Raises:
        TypeError: when `credential` is anything else.
        CredentialUsageError: when the credential has been entered or instrumented already.
    """
    if not isinstance(credential, CommunicationTokenCredential):
        raise wrong_type(
            "not-a-credential",
            "credential is a CommunicationTokenCredential",
            credential,
            ": instrument each credential, such as in a pool's make",
        )
    meters = _meters_of(meter_provider or metrics.get_meter_provider())
    watcher = _Watcher(trace.get_tracer(_SCOPE, tracer_provider=tracer_provider), meters, dict(attributes or {}))
    credential._watch(watcher.observe, partial(_Traced, watcher))
    meters.watch(credential, watcher.attributes)
    return credential


class _Watcher:
    """Watches one credential."""

    def __init__(self, tracer: Tracer, meters: _Meters, attributes: Attributes) -> None:
        self.attributes = attributes
        self._tracer = tracer
        self._meters = meters
        self._round: Span = trace.INVALID_SPAN
        self._began = 0.0

    def in_round(self) -> AbstractContextManager[Span]:
        """A block in which the round's span is the current one."""
        return trace.use_span(self._round, record_exception=False, set_status_on_exception=False)

    def observe(self, event: CredentialEvent) -> None:
        """Begin and end the span of a round, and count it. Nothing that goes wrong here reaches the refresh task."""
        with _harmless():
            match event:
                case RefreshStarted(forced=forced):
                    self._began = time.monotonic()
                    self._round = trace.INVALID_SPAN  # in case the next line raises
                    self._round = self._start(
                        "acs.credential.refresh", SpanKind.INTERNAL, {"acs.refresh.forced": forced}
                    )
                case RefreshSucceeded(expires_on=expires_on, shared=shared):
                    whose: Attributes = {"acs.refresh.shared": True} if shared else {}
                    self._end_round(whose | {"acs.token.expires_on": expires_on})
                    self._meters.refreshes.add(1, self.attributes | whose)
                    self._meters.duration.record(time.monotonic() - self._began, self.attributes)
                case RefreshFailed(error=error, permanent=permanent):
                    kind: Attributes = {"error.type": _type_of(error)}
                    what = kind | {"acs.refresh.permanent": permanent}
                    self._end_round(what, failed=True)
                    self._meters.failures.add(1, self.attributes | what)
                    self._meters.duration.record(time.monotonic() - self._began, self.attributes | kind)
                case CredentialClosed():
                    self._end_round({"acs.refresh.cancelled": True})

    @contextmanager
    def exchange(self, url: str) -> Iterator[Callable[[int], object]]:
        """The span of an exchange, which is told its answer's status."""
        span: Span = trace.INVALID_SPAN
        with _harmless():
            parts = urlsplit(url)
            span = self._start(
                f"POST {parts.path}",
                SpanKind.CLIENT,
                {
                    "http.request.method": "POST",
                    "url.full": url,
                    "server.address": parts.hostname or "",
                    "server.port": parts.port or 443,
                },
                parent=trace.set_span_in_context(self._round),
            )
        status = 0

        def answered(code: int) -> None:
            nonlocal status
            status = code

        what: Attributes = {}
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield answered
        except BaseException as error:
            what["error.type"] = _type_of(error)
            raise
        finally:
            if status:
                what["http.response.status_code"] = status
            if status >= 400:
                what["error.type"] = str(status)
            with _harmless():
                _end(span, what, "error.type" in what)

    def _start(self, name: str, kind: SpanKind, more: Attributes, parent: context.Context | None = None) -> Span:
        # Without a parent: the span that was current when the credential was entered lasts for days, or is long over.
        return self._tracer.start_span(name, parent or context.Context(), kind, self.attributes | more)

    def _end_round(self, more: Attributes, *, failed: bool = False) -> None:
        span, self._round = self._round, trace.INVALID_SPAN
        _end(span, more, failed)


class _Traced(Around):
    """A source that is asked in the span of its round, and whose exchanges are spans in that."""

    def __init__(self, watcher: _Watcher, source: TokenSource) -> None:
        super().__init__(source)
        self._watcher = watcher
        source.watch_exchanges(watcher.exchange)

    async def __call__(self, claims: str | None = None) -> object:
        with self._watcher.in_round():
            return await self._source(claims)


class _Meters:
    """The instruments of one meter provider, and the credentials that they look at."""

    def __init__(self, provider: MeterProvider) -> None:
        meter = provider.get_meter(_SCOPE)
        self.refreshes = meter.create_counter("acs.credential.refreshes", "{refresh}", "Rounds that brought a token.")
        self.failures = meter.create_counter("acs.credential.failures", "{failure}", "Rounds that failed.")
        self.duration = meter.create_histogram("acs.credential.refresh.duration", "s", "How long rounds took.")
        self._watched: WeakKeyDictionary[CommunicationTokenCredential, Attributes] = WeakKeyDictionary()
        self._lock = Lock()
        meter.create_observable_gauge(
            "acs.credential.remaining", [self._remaining], "s", "Seconds until the first of the held tokens ends."
        )
        meter.create_observable_gauge(
            "acs.credential.waiting", [self._waiting], "{task}", "Tasks that wait for a round."
        )

    def watch(self, credential: CommunicationTokenCredential, attributes: Attributes) -> None:
        """Look at this credential as well, for as long as somebody else holds it."""
        with self._lock:
            self._watched[credential] = attributes

    def _remaining(self, _options: CallbackOptions) -> list[Observation]:
        return self._gather(lambda _, remaining: remaining, min)

    def _waiting(self, _options: CallbackOptions) -> list[Observation]:
        return self._gather(lambda credential, _: credential.statistics().waiting, sum)

    def _gather(
        self, look: Callable[[CommunicationTokenCredential, float], float], join: Callable[[list[float]], float]
    ) -> list[Observation]:
        with self._lock:
            watched = list(self._watched.items())
        series: dict[tuple[tuple[str, object], ...], list[float]] = {}
        for credential, attributes in watched:
            if (remaining := credential._remaining()) is not None:
                series.setdefault(tuple(sorted(attributes.items())), []).append(look(credential, remaining))
        return [Observation(join(values), dict(key)) for key, values in series.items()]  # type: ignore[arg-type]  # as given


_meters: WeakKeyDictionary[MeterProvider, _Meters] = WeakKeyDictionary()
_meters_lock = Lock()


def _meters_of(provider: MeterProvider) -> _Meters:
    """The instruments of a provider, which are made once: the provider would warn of a second set."""
    with _meters_lock:
        if provider not in _meters:
            _meters[provider] = _Meters(provider)
        return _meters[provider]


def _end(span: Span, attributes: Attributes, failed: bool) -> None:
    if span.is_recording():
        span.set_attributes(attributes)
        if failed:
            span.set_status(Status(StatusCode.ERROR))  # without a description: the error's text may quote anything
        span.end()


def _type_of(error: BaseException) -> str:
    return type(error).__qualname__


@contextmanager
def _harmless() -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever a processor, a sampler or an exporter raises
        with suppress(Exception):
            _logger.debug("OpenTelemetry raised %s; nothing but its data is lost", type(error).__name__)
