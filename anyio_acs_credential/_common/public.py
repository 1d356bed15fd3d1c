"""Setting the `__module__` of public names, and loading those names on their first use."""

from __future__ import annotations

TYPE_CHECKING = False  # importing typing takes milliseconds, and every program loads this module first
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def public(*named: object, module: str = "") -> None:
    """Set the `__module__` of public names to the module that programs import them from.

    The module that defines the names calls this at its end.

    Args:
        *named: Classes and functions.
        module: The public module, relative to the package: "typing" means `anyio_acs_credential.typing`. The package
            itself by default.
    """
    for value in named:
        value.__module__ = f"anyio_acs_credential.{module}".rstrip(".")


def resolve(name: str, homes: Mapping[str, tuple[str, ...]], package: dict[str, Any]) -> object:
    """Load a public name of a package on its first use, and keep it among the package's globals.

    Args:
        name: The name.
        homes: The public names of each module; the modules are named relative to the package.
        package: The package's `globals()`.

    Returns:
        What has the name.

    Raises:
        AttributeError: when the package has no such name.
    """
    for home, names in homes.items():
        if name in names:
            from importlib import import_module

            value = package[name] = getattr(import_module(home, package["__name__"]), name)
            return value
    raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
