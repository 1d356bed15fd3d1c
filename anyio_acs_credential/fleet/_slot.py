"""One name of a store: its lease, its entry, and what each operation makes of them. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ._store import Entry, Taken, next_fence

_TOLERANCE = 1.0  # seconds by which a clock may be set back before a lease counts as free


@dataclass(frozen=True, slots=True)
class Slot:
    """What a store keeps under a name. Times are in Unix seconds, by the store's clock.

    Attributes:
        last_fence: The fence of the last lease.
        leased_until: When that lease ends; 0.0 where its holder has ended it.
        leased_for: Seconds that the lease was to last when it was last taken or prolonged.
        fence: The entry's fence; 0 without an entry.
        value: The entry's value.
        kept_until: When the entry ends.
    """

    last_fence: int = 0
    leased_until: float = 0.0
    leased_for: float = 0.0
    fence: int = 0
    value: bytes = field(default=b"", repr=False)
    kept_until: float = 0.0

    def entry(self, now: float) -> Entry | None:
        """The entry, or None where there is none or its time is over."""
        return Entry(self.fence, self.value) if now < self.kept_until else None

    def free_in(self, now: float) -> float:
        """Seconds until the lease is free; 0.0 where it is free now."""
        left = self.leased_until - now
        # More is left than the lease ever had, so the clock was set back, and nobody may wait until it has caught up.
        return 0.0 if left > self.leased_for + _TOLERANCE else max(left, 0.0)

    def taken(self, now: float, seconds: float) -> tuple[Slot, Taken]:
        """The slot after an attempt to take the lease, and the answer to the attempt."""
        if (free_in := self.free_in(now)) > 0:
            return self, Taken(self.entry(now), None, free_in)
        fence = next_fence(max(self.last_fence, self.fence), now)
        return self._leased(fence, now, seconds), Taken(self.entry(now), fence, 0.0)

    def prolonged(self, now: float, fence: int, seconds: float) -> Slot | None:
        """The slot with a longer lease; None where the lease is over or not this fence's."""
        return self._leased(fence, now, seconds) if self._has(fence) and self.free_in(now) > 0 else None

    def filled(self, now: float, fence: int, value: bytes, seconds: float) -> Slot | None:
        """The slot with another entry; None where its entry is as new or newer."""
        if fence <= self.fence:
            return None
        return replace(self.released(fence), fence=fence, value=value, kept_until=now + seconds)

    def released(self, fence: int) -> Slot:
        """The slot without this fence's lease."""
        return replace(self, leased_until=0.0) if self._has(fence) else self

    def _has(self, fence: int) -> bool:
        return fence == self.last_fence

    def _leased(self, fence: int, now: float, seconds: float) -> Slot:
        return replace(self, last_fence=fence, leased_until=now + seconds, leased_for=seconds)
