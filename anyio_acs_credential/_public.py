"""Where public classes and functions say that they live, whoever looks at them first."""

from __future__ import annotations


def public(*named: object, module: str = "") -> None:
    """Have them say that they are imported from the package itself, or from one of its modules.

    Args:
        *named: Classes and functions. Called where they are defined.
        module: The module's name in the package, as "typing".
    """
    for value in named:
        value.__module__ = f"anyio_acs_credential.{module}".rstrip(".")
