"""The rooms of the code and the arrows between them, drawn from the table in docs/design.md."""

from __future__ import annotations

import re

from _svg import HERE, keep, picture, words

ROW = re.compile(r"^\| ([a-z ]+) \| [^|]+ \| `[^|]+` \| ([^|]*)\|$", re.MULTILINE)
WIDTH, BOX, TALL, GAP = 720, 118, 34, 54


def levels(known: dict[str, list[str]]) -> dict[str, int]:
    """How far each room is above those that know no other."""
    found: dict[str, int] = {}
    while len(found) < len(known):
        for room, others in known.items():
            if room not in found and all(other in found for other in others):
                found[room] = 1 + max((found[other] for other in others), default=-1)
    return found


def below(room: str, known: dict[str, list[str]]) -> set[str]:
    """All rooms that a room knows, through whichever others."""
    return set(known[room]).union(*(below(other, known) for other in known[room]))


def draw() -> str:
    """The picture."""
    page = (HERE.parent / "design.md").read_text("utf-8")
    known = {room: [each for each in others.strip().split(", ") if each] for room, others in ROW.findall(page)}
    level = levels(known)
    top = max(level.values())
    place: dict[str, tuple[float, float]] = {}
    for row in range(top + 1):
        rooms = [room for room in known if level[room] == top - row]
        for column, room in enumerate(rooms):
            aside = 0.13 * min(row, 2) if len(rooms) == 1 else 0  # or the arrows of one would lie on those of another
            place[room] = (WIDTH * ((column + 0.5) / len(rooms) - aside), 30 + row * (TALL + GAP))
    lines = [
        f'<line x1="{place[room][0]:.0f}" y1="{place[room][1] + TALL / 2:.0f}" x2="{place[other][0]:.0f}" '
        f'y2="{place[other][1] - TALL / 2:.0f}" stroke="var(--line)" stroke-width="1.5"/>'
        for room, others in known.items()
        for other in others
        if not any(other in below(between, known) for between in others)  # else it follows from others
    ]
    boxes = [
        f'<rect x="{x - BOX / 2:.0f}" y="{y - TALL / 2:.0f}" width="{BOX}" height="{TALL}" rx="6" fill="var(--soft)"/>'
        + words(x, y + 5, room, anchor="middle")
        for room, (x, y) in place.items()
    ]
    return picture(
        __file__,
        "The rooms of the code",
        "Each room imports from rooms below it, and none from one above. Arrows that follow from others are left out.",
        (WIDTH, 60 + top * (TALL + GAP)),
        [*lines, *boxes],
    )


if __name__ == "__main__":
    keep(__file__, draw())
