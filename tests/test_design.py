"""docs/design.md: each module is in one room, rooms know those that the page says, and what it names exists."""

from __future__ import annotations

import re
from importlib import import_module

import pytest
from imports import MODULES, imported, name_of
from promises import ROOT

PAGE = (ROOT / "docs" / "design.md").read_text("utf-8")
ROW = re.compile(r"^\| ([a-z ]+) \| [^|]+ \| (`[^|]+`) \| ([^|]*)\|$", re.MULTILINE)
ROOMS = {room: (re.findall(r"`([^`]+)`", modules), known.strip()) for room, modules, known in ROW.findall(PAGE)}


def rooms_of(module: str) -> list[str]:
    """The rooms that name a module, or the package that it is in."""
    name = module.removeprefix("anyio_acs_credential").removeprefix(".") or "__init__"
    package = f"{name.partition('.')[0]}.*"
    return [room for room, (modules, _) in ROOMS.items() if name in modules or package in modules]


def test_each_module_is_in_one_room() -> None:
    assert {name_of(path): len(rooms_of(name_of(path))) for path in MODULES} == dict.fromkeys(map(name_of, MODULES), 1)
    named = [module for modules, _ in ROOMS.values() for module in modules]
    assert len(named) == len(set(named))


def test_rooms_know_those_that_the_page_says() -> None:
    """Each arrow on the page is an import, and each import is an arrow on the page."""
    ours = {name_of(path) for path in MODULES}
    found: dict[str, set[str]] = {room: set() for room in ROOMS}
    for path in MODULES:
        (room,) = rooms_of(name_of(path))
        names = {name if name in ours else name.rpartition(".")[0] for name in imported(path)}  # a public one's module
        found[room] |= {rooms_of(name)[0] for name in names & ours} - {room}
    assert found == {room: set(filter(None, known.split(", "))) for room, (_, known) in ROOMS.items()}


def circles(left: dict[str, set[str]]) -> dict[str, set[str]]:
    """What knows each other, and what knows that: no order has each after all that it knows."""
    while free := {each for each, known in left.items() if not known}:
        left = {each: known - free for each, known in left.items() if each not in free}
    return left


def test_no_two_rooms_know_each_other() -> None:
    assert circles({room: set(filter(None, known.split(", "))) for room, (_, known) in ROOMS.items()}) == {}


def test_no_two_modules_know_each_other() -> None:
    """Nor for types alone."""
    ours = {name_of(path) for path in MODULES}
    assert circles({name_of(path): set(imported(path)) & ours for path in MODULES}) == {}


def test_the_emulator_knows_nothing_that_it_is_to_test() -> None:
    """Neither the client, nor tokens, nor what users test with: only what runs beside a block, and checks."""
    names = {name for path in MODULES if "emulator" in path.parts for name in imported(path)}
    ours = {name for name in names if name.startswith("anyio_acs_credential.") and ".emulator" not in name}
    assert {name for name in ours if not name.startswith("anyio_acs_credential._loops")} == {
        "anyio_acs_credential._common.checks",
        "anyio_acs_credential._common.errors",
    }


@pytest.mark.parametrize(
    ("room", "others"),
    [
        ("emulator._entra", ("emulator._service", "emulator._emulator", "emulator._front")),
        ("emulator._service", ("emulator._emulator", "emulator._front")),
        ("cli._demo", ("cli._watch", "cli._doctor", "cli._commands")),
        ("cli._watch", ("cli._demo", "cli._doctor", "cli._commands")),
        ("cli._doctor", ("cli._demo", "cli._watch", "cli._commands")),
    ],
)
def test_rooms_inside_a_room_do_not_know_each_other(room: str, others: tuple[str, ...]) -> None:
    """But for the resource, which checks the tenant's tokens."""
    inside = [path for path in MODULES if name_of(path).startswith(f"anyio_acs_credential.{room}.")]
    assert inside
    found = {name for path in inside for name in imported(path)}
    for other in others:
        assert not {name for name in found if f"{name}.".startswith(f"anyio_acs_credential.{other}.")}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(_\w+(?:\.\w+)+)`", PAGE))))
def test_what_the_page_names_exists(name: str) -> None:
    found: object = import_module("anyio_acs_credential")
    for attribute in name.split("."):
        if not hasattr(found, attribute):
            import_module(f"{getattr(found, '__name__', '')}.{attribute}")
        found = getattr(found, attribute)
