"""A local stand-in for Azure Communication Services and Entra, over real TLS on loopback, on asyncio and trio."""

from __future__ import annotations

try:
    from ._emulator import Emulator, open_emulator
except ModuleNotFoundError as _missing:
    raise ImportError(
        f'the emulator needs {_missing.name}, which is not installed: pip install "anyio-acs-credential[emulator]", '
        'or in a clone pip install ".[emulator]"',
        name=_missing.name,
    ) from _missing
from ._front import RequestRecord

__all__ = ("Emulator", "RequestRecord", "open_emulator")

for _public in (Emulator, RequestRecord, open_emulator):
    _public.__module__ = __name__
del _public
