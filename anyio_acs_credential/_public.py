"""Where public classes and functions say that they live: the package, whoever looks at them first."""

from __future__ import annotations


def public(*named: object) -> None:
    """Have them say that they are imported from the package itself. Called where they are defined."""
    for value in named:
        value.__module__ = "anyio_acs_credential"
