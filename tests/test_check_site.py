"""The check of docstrings in `docs/check_site.py` finds what they leave out, and nothing else."""

from __future__ import annotations

from runpy import run_path
from typing import TYPE_CHECKING, Any

import pytest
from promises import ROOT

from anyio_acs_credential._common.errors import explained, wrong_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CHECK: dict[str, Any] = run_path(str(ROOT / "docs" / "check_site.py"), run_name="check_site")


def faults(value: object) -> list[str]:
    return list(CHECK["faults_of"](value))


def bare(wait: float) -> None: ...


def without_unit(wait: float) -> None:
    """Do it.

    Args:
        wait: How long it takes.
    """


def of_another_argument(wait: float | None, seconds: int) -> None:
    """Do it.

    Args:
        wait: How long it takes,
            at most.
        seconds: Seconds that it may last.
    """


def result_without_unit() -> float:
    """The life of a token."""
    return 1.0


class Lasting:
    """Something that lasts.

    Args:
        life: How long it lasts.
    """

    def __init__(self, life: float) -> None:
        self._life = life

    @property
    def rest(self) -> float:
        """How long it still lasts."""
        return self._life


def raising() -> None:
    """Do it."""
    raise explained("arguments", ValueError("no"))


def refusing(value: object) -> None:
    """Do it.

    Args:
        value: What it is done with.
    """
    error = wrong_type("arguments", "value is a number", value)
    raise error


async def silent() -> None:
    """Do it."""


async def half_silent() -> None:
    """Do it. It waits for the network."""


UNIT = "does not say in which unit {} is: seconds, Unix seconds, or a part of what"
WAITING = "does not say that it waits and what cancelling does, or that it never waits"


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (bare, "has no docstring"),
        (bare, "does not say what wait is"),
        (without_unit, UNIT.format("wait")),
        (of_another_argument, UNIT.format("wait")),
        (result_without_unit, UNIT.format("the result")),
        (Lasting, UNIT.format("life")),
        (Lasting.rest, UNIT.format("it")),
        (raising, "raises ValueError and does not say when"),
        (refusing, "raises TypeError and does not say when"),
        (silent, WAITING),
        (half_silent, WAITING),
    ],
)
def test_what_a_docstring_leaves_out_is_found(value: object, fault: str) -> None:
    """Each kind of fault, in the smallest docstring that has it."""
    assert fault in faults(value)


def with_units(wait: float, *, jitter: float = 0.1, by: Mapping[str, float], then: Callable[[float], None]) -> float:
    """Seconds that are left.

    Args:
        wait: How long it takes, in
            seconds.
        jitter: The part of the wait that is drawn.
        by: A table, whose numbers are its own.
        then: A function, likewise.

    Raises:
        ValueError: when it is negative.
        TypeError: when it is not a number.
    """
    if wait < 0:
        raise explained("arguments", ValueError("no"))
    if not jitter:
        raise wrong_type("arguments", "jitter is a number", by)
    then(wait)
    return 0.0


async def waiting() -> None:
    """Do it. This waits for the network, and cancelling it closes the connection."""


async def at_once() -> None:
    """Do it. It never waits."""


@pytest.mark.parametrize("value", [with_units, waiting, at_once])
def test_a_docstring_that_says_it_all_has_no_fault(value: object) -> None:
    """Words may stand on a later line, and only what is a float itself needs a unit."""
    assert faults(value) == []


def test_the_check_sees_inherited_methods_class_methods_and_properties() -> None:
    """They are on the pages of the site as well."""
    names = dict(CHECK["public"]())
    for name in ("CommunicationTokenCredential.close", "AccessToken.from_jwt", "AccessToken.claims"):
        assert f"anyio_acs_credential.{name}" in names
