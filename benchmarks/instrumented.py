"""Reading a fresh token with OpenTelemetry's spans and metrics on, beside the same without."""

from __future__ import annotations

from contextlib import AsyncExitStack
from itertools import repeat
from typing import TYPE_CHECKING

import anyio
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider

from anyio_acs_credential import CommunicationTokenCredential
from anyio_acs_credential.otel import instrument
from anyio_acs_credential.testing import ScriptedSource, make_jwt

from ._measure import BACKENDS, Turns
from ._report import Row
from .reading import READS

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 1.05


def measure(quick: bool) -> Iterator[Row]:
    """The ratio on both backends."""
    for backend in BACKENDS:
        yield anyio.run(_read, backend, 20 if quick else 300, backend=backend)


async def _read(backend: str, count: int) -> Row:
    turns = Turns()
    async with AsyncExitStack() as stack:
        subjects = {}
        for name in ("without", "with"):
            credential = CommunicationTokenCredential(make_jwt(3600), token_refresher=ScriptedSource(3600))
            if name == "with":
                meters = MeterProvider([InMemoryMetricReader()])
                instrument(credential, tracer_provider=TracerProvider(), meter_provider=meters)
            subjects[name] = (await stack.enter_async_context(credential)).get_token
        for name in turns.take(subjects, count):
            ask = subjects[name]
            with turns.clock(name):
                for _ in repeat(None, READS):
                    await ask()
    ratio = turns.ratio("with", "without")
    return Row(
        figure=f"fresh `get_token()` with `instrument()` over the same without, {backend}",
        target=f"≤ {LIMIT:.2f}",
        measured=f"{ratio:.2f}",
        reached=ratio.median <= LIMIT,
        floor=f"{turns.seconds('without').median / READS * 1e6:.1f} µs",
        others="",
    )
