"""The states of a held token, drawn from what the code itself says of tokens of three lives."""

from __future__ import annotations

from _svg import keep, picture, rectangle, words

from anyio_acs_credential import AccessToken, RefreshPolicy, TokenState
from anyio_acs_credential._decisions.schedule import due_at, stale_at
from anyio_acs_credential._decisions.state import RefreshState

LIVES = {"10 minutes": 600, "an hour": 3600, "a day": 86_400}
STEPS = 2400
POLICY = RefreshPolicy(jitter=0)
LEFT, WIDTH, HEIGHT = 140, 720, 352
COLOURS = {"fresh": "soft", "due": "good", "stale": "lost", "expired": "bad"}


class Clock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        """The wall clock's time, in seconds."""
        return self.now

    monotonic = time


def kinds(life: int) -> list[str]:
    """How a token of so many seconds stands, at equal steps through its life and a tenth beyond."""
    clock = Clock()
    state = RefreshState(clock, POLICY, proactive=True)
    state.hold(AccessToken("opaque", life))
    found = []
    for step in range(STEPS):
        clock.now = 1.1 * life * step / STEPS
        kind = state.token_state()
        due = state.until_scheduled() <= 0
        found.append({TokenState.FRESH: "due" if due else "fresh", TokenState.STALE: "stale"}.get(kind, "expired"))
    return found


def minutes(seconds: float) -> str:
    """A time in words."""
    return f"{seconds / 60:.3g} minutes" if seconds < 7200 else f"{seconds / 3600:.3g} hours"


def draw() -> str:
    """The picture."""
    parts = [words(16, 30, "How a token stands, from its receipt to beyond its end", "strong")]
    width = (WIDTH - LEFT - 16) / STEPS
    for row, (name, life) in enumerate(LIVES.items()):
        top, found = 56 + 60 * row, kinds(life)
        parts.append(words(16, top + 17, name))
        begin = 0
        for step in range(1, STEPS + 1):
            if step == STEPS or found[step] != found[begin]:
                parts.append(rectangle(LEFT + begin * width, top, (step - begin) * width, 24, COLOURS[found[begin]]))
                begin = step
        due, stale = minutes(due_at(life, 0, POLICY)), minutes(stale_at(life, POLICY))
        parts.append(words(LEFT, top + 41, f"due {due} before its end, stale {stale} before it", "small"))
    explained = {
        "fresh": "fresh: handed out at once",
        "due": "due: renewed in the background, handed out at once",
        "stale": "stale: callers wait for the next, for five seconds at most",
        "expired": "expired: callers wait",
    }
    for place, (kind, text) in enumerate(explained.items()):
        y = 254 + 24 * place
        parts.append(rectangle(16, y - 11, 14, 14, COLOURS[kind]))
        parts.append(words(38, y, text, "small"))
    return picture(
        __file__,
        "The states of a token",
        "A token is fresh, then due for renewal, then stale, then expired: ten minutes, an hour and a day long.",
        (WIDTH, HEIGHT),
        parts,
    )


if __name__ == "__main__":
    keep(__file__, draw())
