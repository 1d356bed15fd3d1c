"""Where public names say that they live, whoever looks at them first, and how they are loaded."""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own takes milliseconds, and this is the first that any program loads
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def public(*named: object, module: str = "") -> None:
    """Have them say that they are imported from the package itself, or from one of its modules.

    Args:
        *named: Classes and functions. Called where they are defined.
        module: The module's name in the package, as "typing".
    """
    for value in named:
        value.__module__ = f"anyio_acs_credential.{module}".rstrip(".")


def resolve(name: str, homes: Mapping[str, tuple[str, ...]], package: dict[str, Any]) -> object:
    """A public name of a package that loads what is asked for, and keeps it.

    Args:
        name: The name.
        homes: The public names of each module, which is named as the package imports it.
        package: The package's `globals()`.

    Raises:
        AttributeError: when it has no such name.
    """
    for home, names in homes.items():
        if name in names:
            from importlib import import_module

            value = package[name] = getattr(import_module(home, package["__name__"]), name)
            return value
    raise AttributeError(f"module {package['__name__']!r} has no attribute {name!r}")
