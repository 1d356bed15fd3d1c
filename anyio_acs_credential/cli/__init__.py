"""The command line: `acs-credential`, or `python -m anyio_acs_credential`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .._common.extras import missing_extra
from ._interrupt import loading

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ("main",)

_EXTRAS = frozenset({"anycorn", "click", "cryptography", "rich", "starlette", "trustme"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The command line behind the program's name; None for this process's own.

    Returns:
        The exit status, which each command's help explains.
    """
    try:
        with loading():
            from ._commands import run
        return run(arguments)
    except KeyboardInterrupt:  # where click does not handle it
        return 130
    except ImportError as missing:
        name = (missing.name or "").partition(".")[0]
        if name not in _EXTRAS:
            return _report(missing)
        sys.stderr.write(f"acs-credential: {missing_extra(name, 'cli,emulator')}\n")
        return 2
    except Exception as mistake:  # noqa: BLE001 - Python's own report could show secrets
        return _report(mistake)


def _report(mistake: Exception) -> int:
    from ._output import print_traceback

    print_traceback(mistake)
    return 1
