"""What a store asks of Redis: each question is one script, so that Redis answers it whole or not at all.

A name has three keys, which share a hash tag and so lie on one node of a cluster: the entry, a hash of its fence and
its value; the lease, which holds its holder's fence; and the last fence that was given out. Each key expires by Redis's
own clock. Redis 6.2 has every command that the scripts use.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from math import ceil
from typing import Any

_KINDS = ("entry", "lease", "fence")


@dataclass(frozen=True)
class Script:
    """A script in Lua.

    Args:
        source: The script's text. It finds the keys of `keys_of()` in KEYS, and its arguments in ARGV.
    """

    source: str

    async def run(self, client: Any, keys: list[str], *arguments: bytes | int) -> Any:
        """Run the script, by its digest where Redis knows it already. It waits for Redis.

        Args:
            client: A client of coredis.
            keys: The keys of the name.
            *arguments: The script's arguments.

        Returns:
            The script's result, as coredis gives it.
        """
        from coredis.exceptions import NoScriptError

        try:
            return await client.evalsha(self._digest, keys=keys, args=arguments)
        except NoScriptError:  # Redis was restarted, or another node has become the master
            pass
        return await client.eval(self.source, keys=keys, args=arguments)

    @property
    def _digest(self) -> str:
        return hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()


def keys_of(prefix: str, name: str) -> list[str]:
    """The keys of a name.

    Args:
        prefix: The text that they begin with.
        name: The name, as `Sealer.name()` hides it.
    """
    return [f"{prefix}:{{{name}}}:{kind}" for kind in _KINDS]


def milliseconds(seconds: float) -> int:
    """Seconds as whole milliseconds, and at least one, since 0 is an error in Redis, or deletes the key."""
    return max(1, ceil(seconds * 1000))


LOOK = Script("return redis.call('HMGET', KEYS[1], 'fence', 'value')")
"""Returns the entry's fence and value."""

# A number in Lua is a float, which "%.0f" writes in full, where concatenation would round it.
TAKE = Script("""\
local entry = redis.call('HMGET', KEYS[1], 'fence', 'value')
local left = redis.call('PTTL', KEYS[2])
if left > 0 then return {entry[1], entry[2], false, left} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local last = math.max(tonumber(redis.call('GET', KEYS[3]) or 0), tonumber(entry[1] or 0))
local fence = string.format('%.0f', math.max(last + 1, now))
redis.call('SET', KEYS[2], fence, 'PX', ARGV[1])
redis.call('SET', KEYS[3], fence, 'PX', ARGV[2])
return {entry[1], entry[2], fence, 0}
""")
"""Returns the entry's fence and value; the new lease's fence, or nil; and the milliseconds until the lease is free.

ARGV: the milliseconds of the lease, and those for which the last fence is remembered, in case the clock is set back.
"""

PROLONG = Script("""\
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[2], ARGV[2])
""")
"""Returns whether the lease is still this fence's. ARGV: the fence, and the milliseconds of the lease from now on."""

PUT = Script("""\
if tonumber(redis.call('HGET', KEYS[1], 'fence') or 0) >= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'value', ARGV[2])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return 1
""")
"""Returns whether the value is kept. ARGV: the fence, the value, and the milliseconds for which it is kept."""

RELEASE = Script("""\
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
return 1
""")
"""Ends the lease if it is this fence's. ARGV: the fence."""
