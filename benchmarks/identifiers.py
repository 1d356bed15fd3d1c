"""Reading raw ids: what each participant of each call and message costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azure.communication.chat import identifier_from_raw_id as official_from_raw_id

from anyio_acs_credential import identifier_from_raw_id

from ._measure import Turns
from ._report import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PASSES = 500
GUID = "45ab2481-1c1c-4005-be24-0ffb879b1130"
RAW_IDS = (
    f"8:acs:{GUID}_{GUID}",
    f"8:acs:{GUID}_{GUID}_{GUID}",
    f"8:orgid:{GUID}",
    f"8:teamsvisitor:{GUID}",
    "4:+14255550123",
    f"28:orgid:{GUID}",
    f"48:{GUID}",
)
LIMIT = 0.7


def measure(quick: bool) -> Iterator[Row]:
    """One raw id of each kind, again and again."""
    turns = Turns()
    subjects = {"ours": identifier_from_raw_id, "official": official_from_raw_id}
    for name in turns.take(subjects, 20 if quick else 300):
        with turns.clock(name):
            _read(subjects[name])
    ratio = turns.ratio("ours", "official")
    yield Row(
        figure="`identifier_from_raw_id` over the official package's, each kind as often",
        target=f"≤ {LIMIT}",
        measured=f"{ratio:.2f}",
        reached=ratio.median <= LIMIT,
        floor=f"{turns.seconds('official').median / PASSES / len(RAW_IDS) * 1e6:.1f} µs",
        others="the official one is 1",
    )


def _read(from_raw_id: Callable[[str], object]) -> None:
    for _ in range(PASSES):
        for raw_id in RAW_IDS:
            from_raw_id(raw_id)
