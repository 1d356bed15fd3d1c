"""Importing the package, beside importing what it needs of anyio and the standard library: whole processes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from ._measure import Turns
from ._report import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMISES = ()

OURS = "from anyio_acs_credential import CommunicationTokenCredential"
OTHERS = {
    "official": "from azure.communication.chat.aio import CommunicationTokenCredential",
    "azure-core": "from azure.core.pipeline.policies import AsyncBearerTokenCredentialPolicy",
    "azure-identity": "from azure.identity.aio import ClientSecretCredential",
    "Authlib": "from authlib.integrations.httpx_client import AsyncOAuth2Client",
}
NEEDED = f"""
import sys
before = set(sys.modules)
{OURS}
print(*(name for name in sys.modules if name not in before and not name.startswith("anyio_acs_credential")), sep=",")
"""
LIMIT = 1.12


def measure(quick: bool) -> Iterator[Row]:
    """One figure: no event loop is involved."""
    needed = _python(NEEDED).strip()
    programs = {"floor": f"import {needed}", "ours": OURS, "nothing": ""}
    turns = _time(programs, 5 if quick else 80)
    with_others = _time({"floor": programs["floor"], **OTHERS}, 3 if quick else 10)
    ratio = turns.ratio("ours", "floor")
    yield Row(
        figure=f"`python -c '{OURS}'` over an import of all that it loads of anyio and the standard library",
        target=f"≤ {LIMIT}",
        measured=f"{ratio:.3f}",
        reached=ratio.median <= LIMIT,
        floor=f"{turns.seconds('floor').median * 1e3:.0f} ms for {needed.count(',') + 1} modules; "
        f"an empty program {turns.seconds('nothing').median * 1e3:.0f} ms",
        others=", ".join(f"{name} {with_others.ratio(name, 'floor').median:.1f}" for name in OTHERS),
    )


def _time(programs: dict[str, str], count: int) -> Turns:
    turns = Turns()
    for name in turns.take(programs, count):
        with turns.clock(name):
            _python(programs[name])
    return turns


def _python(program: str) -> str:
    # Isolated, so that no folder or variable of the caller's decides what is found first.
    done = subprocess.run([sys.executable, "-I", "-c", program], check=True, capture_output=True, text=True)  # noqa: S603 - ours
    return done.stdout
