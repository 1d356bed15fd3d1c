"""What can be told of a value by looking: whether it is a number, and of a function how it is called."""

from __future__ import annotations

import inspect
from typing import TypeGuard


def is_number(value: object) -> TypeGuard[float]:
    """Whether it is an int or a float; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_async(function: object) -> bool:
    """Whether calling it gives a coroutine: an async function, or an object whose `__call__` is one."""
    method = getattr(function, "__call__", None)  # noqa: B004 - not whether it can be called, but how it answers
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(method)


def is_one(thing: object, *methods: str) -> bool:
    """Whether something has these methods, and is not the class that has them."""
    return not isinstance(thing, type) and all(hasattr(thing, method) for method in methods)


def misfit(function: object, *arguments: object) -> TypeError | None:
    """Why a callable cannot be called with these arguments; None where it can, or does not say."""
    try:
        signature = inspect.signature(function)  # type: ignore[arg-type]  # the caller has seen that it is callable
    except (TypeError, ValueError):
        return None  # some callables written in C have no signature to look at
    try:
        signature.bind(*arguments)
    except TypeError as error:
        return error
    return None
