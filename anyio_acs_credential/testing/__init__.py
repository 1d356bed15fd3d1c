"""Test code that holds a credential: clocks that skip the waiting, and token sources that follow a script."""

from ._clock import VirtualClock
from ._sources import ScriptedSource, make_jwt
from ._stores import check_token_store
from ._virtual_time import virtual_time, virtual_time_backends

__all__ = ("ScriptedSource", "VirtualClock", "check_token_store", "make_jwt", "virtual_time", "virtual_time_backends")

for _public in (ScriptedSource, VirtualClock, check_token_store, make_jwt, virtual_time, virtual_time_backends):
    _public.__module__ = __name__
del _public
