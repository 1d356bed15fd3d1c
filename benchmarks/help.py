"""`acs-credential --help`, beside an import of the library that reads its command line: whole processes."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from ._measure import Turns
from ._report import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMISES = ()

PROGRAMS = {
    "floor": "import click",
    # What the script says that pip installs.
    "ours": "import sys; from anyio_acs_credential.cli import main; sys.exit(main(['--help']))",
    "package": "import anyio_acs_credential",
}
LIMIT = 2.5


def measure(quick: bool) -> Iterator[Row]:
    """One figure: no event loop is involved."""
    turns = Turns()
    for name in turns.take(PROGRAMS, 5 if quick else 80):
        with turns.clock(name):
            # Isolated, so that no folder or variable of the caller's decides what is found first.
            subprocess.run([sys.executable, "-I", "-c", PROGRAMS[name]], check=True, capture_output=True)  # noqa: S603 - ours
    ratio = turns.ratio("ours", "floor")
    yield Row(
        figure="`acs-credential --help` over `python -c 'import click'`",
        target=f"≤ {LIMIT}",
        measured=f"{ratio:.2f}",
        reached=ratio.median <= LIMIT,
        floor=f"{turns.seconds('floor').median * 1e3:.0f} ms; importing the package "
        f"{turns.seconds('package').median * 1e3:.0f} ms",
    )
