"""Checks of arguments: what is a number, what has the methods that are needed, and how a function can be called."""

from __future__ import annotations

import inspect
from typing import TypeGuard

from .errors import wrong_type


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value is an int or a float; True and False do not count."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_async(function: object) -> bool:
    """Whether a call gives a coroutine: that of an async function does, and of an object with an async `__call__`."""
    method = getattr(function, "__call__", None)  # noqa: B004 - callable() does not say whether the call is async
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(method)


def has_methods(thing: object, *methods: str) -> bool:
    """Whether an object has these methods or attributes. A class with them for its instances does not count."""
    return not isinstance(thing, type) and all(hasattr(thing, method) for method in methods)


def is_clock(thing: object, *methods: str) -> bool:
    """Whether each of these methods tells a time without being given anything, as those of the class itself do not."""
    tells = [getattr(thing, method, None) for method in methods]
    return all(callable(tell) and misfit(tell) is None for tell in tells)


def check_clock(clock: object, *methods: str) -> None:
    """Refuse what is not a clock.

    Raises:
        TypeError: when one of these methods tells no time.
    """
    if not is_clock(clock, *methods):
        raise wrong_type("clock", f"clock is an object with {' and '.join(f'{method}()' for method in methods)}", clock)


def misfit(function: object, *arguments: object) -> TypeError | None:
    """Why a callable cannot be called with these arguments; None where it can be, or where it has no signature."""
    try:
        signature = inspect.signature(function)  # type: ignore[arg-type]  # the caller has checked that it is callable
    except (TypeError, ValueError):
        return None  # some callables written in C have no signature
    try:
        signature.bind(*arguments)
    except TypeError as error:
        return error
    return None


def check_claims(claims: object) -> str | None:
    """The claims, if they are None or text. Whether a text is JSON is for Entra's own credentials to say.

    Raises:
        TypeError: when the claims of a challenge are not text.
    """
    if claims is None or isinstance(claims, str):
        return claims
    fix = ": give claims.decode() of bytes, and json.dumps(claims) of a dict"
    error, claims = wrong_type("claims", "claims are the text of a JSON object", claims, fix), None
    raise error  # no frame that it passes shows what was given, which may hold a token by mistake
