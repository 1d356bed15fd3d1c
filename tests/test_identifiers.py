"""Communication identifiers: kinds, raw ids, wire models, and what the official packages make of them."""

from __future__ import annotations

import copy
import json
import pickle
import re
from dataclasses import asdict
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, assert_never, get_args

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from published_identifiers import FIXTURES, HERE, ours

import anyio_acs_credential
from anyio_acs_credential import (
    CommunicationIdentifier,
    CommunicationUserIdentifier,
    InvalidIdentifierError,
    MicrosoftTeamsAppIdentifier,
    MicrosoftTeamsUserIdentifier,
    PhoneNumberIdentifier,
    TeamsExtensionUserIdentifier,
    UnknownIdentifier,
    identifier_from_raw_id,
    identifier_from_wire,
    identifiers,
    identity,
)

if TYPE_CHECKING:
    from types import ModuleType

VECTORS: dict[str, Any] = json.loads((HERE / "vectors.json").read_text("utf-8"))
PUBLISHED: list[dict[str, Any]] = json.loads(FIXTURES.read_text("utf-8"))["cases"]
KINDS: dict[str, Any] = {kind.kind: kind for kind in get_args(CommunicationIdentifier)}

RESOURCE = "bbbcbc1e-9f06-482a-b5d8-20e3f26ef0cd"
USER = "45ab2481-1c1c-4005-be24-0ffb879b1130"
TENANT = "cdc5aeea-15c5-4db6-b079-fcadd2505dc2"

EACH_KIND: list[CommunicationIdentifier] = [
    CommunicationUserIdentifier(f"8:acs:{RESOURCE}_{USER}"),
    PhoneNumberIdentifier("+14255550123"),
    MicrosoftTeamsUserIdentifier(USER),
    MicrosoftTeamsAppIdentifier(USER),
    TeamsExtensionUserIdentifier(USER, TENANT, RESOURCE),
    UnknownIdentifier("48:notes"),
]


def made(case: dict[str, Any]) -> CommunicationIdentifier:
    """The identifier that a case describes."""
    arguments = {name: value for name, value in case.items() if name != "kind"}
    identifier: CommunicationIdentifier = KINDS[case["kind"]](**arguments)
    return identifier


def attributes(identifier: CommunicationIdentifier) -> dict[str, Any]:
    """All but the raw id."""
    return {name: value for name, value in asdict(identifier).items() if name != "raw_id"}


def official(case: dict[str, Any]) -> dict[str, Any]:
    """What an official package told, in our words.

    Python's clouds are in capitals, and JavaScript's anonymous users have none; Python's unknown ones have no id.
    """
    told = {name: value for name, value in case["attributes"].items() if value is not None}
    if "cloud" in told or case["kind"] == "microsoft_teams_user":
        told["cloud"] = told.get("cloud", "public").lower()
    if case["kind"] == "unknown":
        told["id"] = case["raw_id"]
    if case["kind"] == "phone_number":
        told.setdefault("asserted_id", None)
    return told


# Raw ids


@pytest.mark.parametrize("case", VECTORS["raw_ids"], ids=lambda case: case["raw_id"])
def test_vectors_of_raw_ids(case: dict[str, Any]) -> None:
    """A raw id makes the identifier, and the wire model, that the official packages agree on."""
    identifier = identifier_from_raw_id(case["raw_id"])
    assert (identifier.kind, attributes(identifier)) == (case["kind"], case["properties"])
    assert identifier.raw_id == case["round_trip_raw_id"]
    assert identifier.to_wire() == case["wire_js_2_5_0"]


@pytest.mark.parametrize(
    ("raw_id", "expected"),
    [
        ("8:dod:u", MicrosoftTeamsUserIdentifier("u", cloud="dod")),
        ("8:orgid:u", MicrosoftTeamsUserIdentifier("u")),
        ("28:orgid:a", MicrosoftTeamsAppIdentifier("a")),
        ("28:gcch:a", MicrosoftTeamsAppIdentifier("a", cloud="gcch")),
        ("8:acs:r_ext_t_u", CommunicationUserIdentifier("8:acs:r_ext_t_u")),
        ("8:spool:a_b_c", CommunicationUserIdentifier("8:spool:a_b_c")),
        ("8:gcch-acs:segment4:r_u", UnknownIdentifier("8:gcch-acs:segment4:r_u")),
        ("28:gcch-global:a", UnknownIdentifier("28:gcch-global:a")),
        ("8:ORGID:u", UnknownIdentifier("8:ORGID:u")),
        ("4:+1:2", PhoneNumberIdentifier("+1:2")),
        ("4:anonymous_x", PhoneNumberIdentifier("anonymous_x", asserted_id="x")),
        ("4:", PhoneNumberIdentifier("")),
    ],
)
def test_more_raw_ids(raw_id: str, expected: CommunicationIdentifier) -> None:
    found = identifier_from_raw_id(raw_id)
    assert found == expected
    assert asdict(found) == asdict(expected)


@pytest.mark.parametrize("case", VECTORS["identifier_to_raw_id"], ids=lambda case: case["raw_id"])
def test_vectors_of_attributes(case: dict[str, Any]) -> None:
    """Attributes make the raw id; one that is given wins; no user who is anonymous has a cloud in it."""
    assert made({"kind": case["kind"], **case["args"]}).raw_id == case["raw_id"]


@pytest.mark.parametrize("identifier", EACH_KIND, ids=lambda identifier: identifier.kind)
def test_a_raw_id_that_is_given_wins(identifier: CommunicationIdentifier) -> None:
    """An empty one is none."""
    case = {"kind": identifier.kind, **attributes(identifier)}
    assert made({**case, "raw_id": "8:other"}).raw_id == "8:other"
    assert made({**case, "raw_id": ""}).raw_id == made({**case, "raw_id": None}).raw_id == identifier.raw_id


def test_a_phone_number_says_what_its_raw_id_says() -> None:
    """Hidden or not, and the asserted id, by whichever way it is made, unless the service says it otherwise."""
    hidden = PhoneNumberIdentifier("anonymous")
    assert (hidden.is_anonymous, hidden.asserted_id) == (True, None)
    asserted = PhoneNumberIdentifier("+1", raw_id="4:+1_a_b")
    assert (asserted.value, asserted.is_anonymous, asserted.asserted_id) == ("+1", False, "b")
    told = PhoneNumberIdentifier("+1", is_anonymous=True, asserted_id="x", raw_id="4:+1_a")
    assert (told.is_anonymous, told.asserted_id) == (True, "x")


@pytest.mark.parametrize("name", ["dod", "DOD", "Dod"])
def test_clouds_in_any_case(name: str) -> None:
    """The official Python package writes "DOD", the service "dod"."""
    user = MicrosoftTeamsUserIdentifier("u", cloud=name)
    assert (user.cloud, user.raw_id) == ("dod", "8:dod:u")
    assert MicrosoftTeamsAppIdentifier("a", cloud=name).raw_id == "28:dod:a"
    assert TeamsExtensionUserIdentifier("u", "t", "r", cloud=name).raw_id == "8:dod-acs:r_t_u"


@pytest.mark.parametrize("none", [None, ""])
def test_no_cloud_is_the_public_one(none: str | None) -> None:
    """As in the official Python package."""
    for kind in (MicrosoftTeamsUserIdentifier, MicrosoftTeamsAppIdentifier):
        assert asdict(kind("u", cloud=none)) == asdict(kind("u"))
    assert asdict(TeamsExtensionUserIdentifier("u", "t", "r", cloud=none)) == asdict(
        TeamsExtensionUserIdentifier("u", "t", "r")
    )


class Told(str):
    """Text that shows another than it holds."""

    def __str__(self) -> str:
        return "[hidden]"

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return str(self)

    def __add__(self, other: str) -> str:
        return str(self)

    __radd__ = __add__


class Numbered(StrEnum):
    """A text with a name."""

    USER = "8:dod:u"
    CLOUD = "dod"


@pytest.mark.parametrize("identifier", EACH_KIND, ids=lambda identifier: identifier.kind)
def test_what_is_kept_is_plain_text(identifier: CommunicationIdentifier) -> None:
    """Of a subclass what it holds is taken, and not what it shows."""

    def told(value: Any) -> Any:
        return Told(value) if isinstance(value, str) else value

    case = {"kind": identifier.kind, **attributes(identifier)}
    for raw_id in (None, told("8:other")):
        found = made({**{name: told(value) for name, value in case.items()}, "kind": identifier.kind, "raw_id": raw_id})
        assert asdict(found) == asdict(made({**case, "raw_id": raw_id}))
        assert {type(value) for value in asdict(found).values()} <= {str, bool, type(None)}
    read = identifier_from_raw_id(Told(identifier.raw_id))
    assert {type(value) for value in asdict(read).values()} <= {str, bool, type(None)}
    assert asdict(read) == asdict(identifier_from_raw_id(identifier.raw_id))


def test_names_of_an_enumeration_are_texts() -> None:
    assert type(identifier_from_raw_id(Numbered.USER).raw_id) is str
    assert MicrosoftTeamsUserIdentifier("u", cloud=Numbered.CLOUD).raw_id == "8:dod:u"


def test_a_cloud_that_is_not_known_is_kept() -> None:
    """Its raw ids are those of the public one."""
    user = MicrosoftTeamsUserIdentifier("u", cloud="Sovereign")
    assert (user.cloud, user.raw_id) == ("Sovereign", "8:orgid:u")
    assert MicrosoftTeamsAppIdentifier("a", cloud="Sovereign").raw_id == "28:orgid:a"
    assert TeamsExtensionUserIdentifier("u", "t", "r", cloud="Sovereign").raw_id == "8:acs:r_t_u"
    assert identifier_from_wire(user.to_wire()) == user


RAW_IDS = st.one_of(
    st.text(),
    st.builds(
        str.__add__,
        st.sampled_from(["4:", "8:acs:", "8:gcch-acs:", "8:spool:", "8:orgid:", "8:teamsvisitor:", "28:dod:", "28:"]),
        st.text(st.sampled_from("ab_:+1")),
    ),
)


@given(RAW_IDS)
def test_any_text_is_a_raw_id(text: str) -> None:
    """Raw id to identifier to raw id is the way home, and so is it through the wire."""
    identifier = identifier_from_raw_id(text)
    assert identifier.raw_id == text
    if text:  # an empty one is none on the wire
        again = identifier_from_wire(json.loads(json.dumps(identifier.to_wire())))
        assert again == identifier
        assert asdict(again) == asdict(identifier)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("prefix", ["4:", "8:acs:", "8:orgid:", "28:dod:", "8:teamsvisitor:", ""])
@pytest.mark.parametrize("piece", [":", "_", "a_", "a:", "8:acs:"])
def test_a_raw_id_of_megabytes_takes_no_time(prefix: str, piece: str) -> None:
    """What has as many separators as letters is read in one pass, or this would take hours."""
    text = prefix + piece * 1_000_000
    assert identifier_from_raw_id(text).raw_id == text
    assert identifier_from_wire({"rawId": text, "phoneNumber": {"value": text}}).raw_id == text


@given(RAW_IDS)
def test_what_is_read_is_what_its_attributes_make(text: str) -> None:
    """A raw id makes what the constructor makes of the same attributes and raw id."""
    identifier = identifier_from_raw_id(text)
    assert asdict(made({"kind": identifier.kind, **asdict(identifier)})) == asdict(identifier)


# The wire

TEXTS = st.text(max_size=8)
RAW = st.none() | TEXTS
CLOUDS = st.sampled_from(["public", "dod", "gcch", "DOD", "Sovereign"])
IDENTIFIERS: st.SearchStrategy[CommunicationIdentifier] = st.one_of(
    st.builds(CommunicationUserIdentifier, TEXTS, raw_id=RAW),
    st.builds(
        PhoneNumberIdentifier,
        TEXTS,
        is_anonymous=st.none() | st.booleans(),
        asserted_id=st.none() | TEXTS,
        raw_id=RAW,
    ),
    st.builds(MicrosoftTeamsUserIdentifier, TEXTS, is_anonymous=st.booleans(), cloud=CLOUDS, raw_id=RAW),
    st.builds(MicrosoftTeamsAppIdentifier, TEXTS, cloud=CLOUDS, raw_id=RAW),
    st.builds(TeamsExtensionUserIdentifier, TEXTS, TEXTS, TEXTS, cloud=CLOUDS, raw_id=RAW),
    st.builds(UnknownIdentifier, TEXTS),
)


@given(IDENTIFIERS)
@example(PhoneNumberIdentifier("anonymous", is_anonymous=False))
@example(CommunicationUserIdentifier("a", raw_id="b"))
def test_the_wire_loses_nothing(identifier: CommunicationIdentifier) -> None:
    """Identifier to wire to identifier is the way home, with every attribute, if anything identifies it."""
    assume(identifier.raw_id)
    again = identifier_from_wire(json.loads(json.dumps(identifier.to_wire())))
    assert again == identifier
    assert asdict(again) == asdict(identifier)


@pytest.mark.parametrize("case", VECTORS["identifier_wire_ok_js"], ids=lambda case: case["kind"])
def test_vectors_of_wire_models(case: dict[str, Any]) -> None:
    found = identifier_from_wire(case["model"])
    expected = {name: value for name, value in case.items() if name != "model"}
    assert {"kind": found.kind, **asdict(found)} == {"raw_id": found.raw_id, **expected}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        # As the .NET package and the service write them: with the kind, and null for what is not there.
        (
            {"kind": "phoneNumber", "rawId": "4:+1", "phoneNumber": {"value": "+1"}, "communicationUser": None},
            PhoneNumberIdentifier("+1"),
        ),
        (
            {
                "kind": "microsoftTeamsUser",
                "rawId": "8:dod:u",
                "microsoftTeamsUser": {"userId": "u", "isAnonymous": False, "cloud": "dod"},
            },
            MicrosoftTeamsUserIdentifier("u", cloud="dod"),
        ),
        (
            {"kind": None, "rawId": "8:acs:x", "communicationUser": {"id": "8:acs:x"}},
            CommunicationUserIdentifier("8:acs:x"),
        ),
        # The kind's own model is missing, or is newer than this code.
        ({"kind": "phoneNumber", "rawId": "4:+1"}, UnknownIdentifier("4:+1")),
        ({"kind": "hologram", "rawId": "9:x", "hologram": {"id": "x"}}, UnknownIdentifier("9:x")),
        # A kind that is missing or unknown is told by the model's own member; its spelling is anybody's.
        ({"kind": "unknown", "rawId": "x", "communicationUser": {"id": "x"}}, CommunicationUserIdentifier("x")),
        ({"kind": "hologram", "rawId": "x", "communicationUser": {"id": "x"}}, CommunicationUserIdentifier("x")),
        ({"kind": "CommunicationUser", "communicationUser": {"id": "x"}}, CommunicationUserIdentifier("x")),
        ({"kind": "phone_number", "phoneNumber": {"value": "+1"}}, PhoneNumberIdentifier("+1")),
        ({"kind": "MICROSOFT-TEAMS-APP", "microsoftTeamsApp": {"appId": "a"}}, MicrosoftTeamsAppIdentifier("a")),
        # What is missing is what it mostly is; an empty raw id is missing.
        ({"rawId": "", "microsoftTeamsUser": {"userId": "u"}}, MicrosoftTeamsUserIdentifier("u")),
        ({"microsoftTeamsUser": {"userId": "u", "cloud": "dod"}}, MicrosoftTeamsUserIdentifier("u", cloud="dod")),
        (
            {"microsoftTeamsUser": {"userId": "u", "isAnonymous": True}},
            MicrosoftTeamsUserIdentifier("u", is_anonymous=True),
        ),
        (
            {"teamsExtensionUser": {"userId": "u", "tenantId": "t", "resourceId": "r"}},
            TeamsExtensionUserIdentifier("u", "t", "r"),
        ),
        # The raw id of a user of the resource is its id, and the official Python package reads no other.
        ({"rawId": "8:acs:x", "communicationUser": {}}, CommunicationUserIdentifier("8:acs:x")),
        ({"rawId": "8:acs:x", "communicationUser": {"id": None}}, CommunicationUserIdentifier("8:acs:x")),
        ({"microsoftTeamsUser": {"userId": "u", "cloud": ""}}, MicrosoftTeamsUserIdentifier("u")),
        # What is missing does not say otherwise than the raw id.
        ({"rawId": "4:anonymous", "phoneNumber": {"value": "anonymous"}}, PhoneNumberIdentifier("anonymous")),
        (
            {"rawId": "8:dod:u", "microsoftTeamsUser": {"userId": "u"}},
            MicrosoftTeamsUserIdentifier("u", raw_id="8:dod:u"),
        ),
        # The raw id wins over the id.
        (
            {"rawId": "8:acs:y", "communicationUser": {"id": "8:acs:x"}},
            CommunicationUserIdentifier("8:acs:x", raw_id="8:acs:y"),
        ),
        (
            {"rawId": "4:+1_a", "phoneNumber": {"value": "+1", "isAnonymous": None, "assertedId": None}},
            PhoneNumberIdentifier("+1", raw_id="4:+1_a"),
        ),
        (
            {"rawId": "4:+1", "phoneNumber": {"value": "+1", "isAnonymous": True, "assertedId": "a"}},
            PhoneNumberIdentifier("+1", is_anonymous=True, asserted_id="a"),
        ),
    ],
    ids=str,
)
def test_wire_models(model: dict[str, object], expected: CommunicationIdentifier) -> None:
    found = identifier_from_wire(model)
    assert found == expected
    assert asdict(found) == asdict(expected)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=f"{case['package']} {case['raw_id']}")
        for case in PUBLISHED
        if case["does"] == "writes" and case["raw_id"]
    ],
)
def test_what_the_official_packages_write_is_read(case: dict[str, Any]) -> None:
    """As the same kind, with the same raw id and the same attributes."""
    found = identifier_from_wire(case["wire"])
    assert (found.kind, found.raw_id) == (case["kind"], case["raw_id"])
    assert attributes(found) == official(case)


@pytest.mark.parametrize("package", sorted({case["package"] for case in PUBLISHED}))
def test_the_official_packages_read_what_is_written(package: str) -> None:
    """As the same kind, with the same raw id and the same attributes. `nox -s wire` keeps what they told."""
    cases = [case for case in PUBLISHED if case["package"] == package and case["does"] == "reads"]
    assert [case["wire"] for case in cases] == [identifier.to_wire() for identifier in ours()]
    for case, identifier in zip(cases, ours(), strict=True):
        assert (case["kind"], case["raw_id"]) == (identifier.kind, identifier.raw_id)
        assert official(case) == attributes(identifier)


# Values


@pytest.mark.parametrize("case", VECTORS["identifier_equality"], ids=lambda case: case["a"]["kind"])
def test_vectors_of_equality(case: dict[str, Any]) -> None:
    """Equal are two of one kind with one raw id."""
    a, b = made(case["a"]), made(case["b"])
    assert (a == b) is case["equal"]
    assert (hash(a) == hash(b)) is case["equal"] or a.kind != b.kind
    assert len({a, b}) == 2 - case["equal"]


@pytest.mark.parametrize("identifier", EACH_KIND, ids=lambda identifier: identifier.kind)
def test_only_the_raw_id_counts(identifier: CommunicationIdentifier) -> None:
    """Two of one kind with one raw id are equal, whatever else they say of themselves."""
    others = {name: True if name == "is_anonymous" else "dod" for name in attributes(identifier)}
    other = made({"kind": identifier.kind, **others, "raw_id": identifier.raw_id})
    assert attributes(other) != attributes(identifier)
    assert other == identifier
    assert hash(other) == hash(identifier)


def test_kinds_are_never_equal() -> None:
    """The same raw id in six kinds makes six identifiers, none of which is its raw id."""
    same = [made({"kind": each.kind, **attributes(each), "raw_id": "8:acs:x"}) for each in EACH_KIND]
    assert len(set(same)) == len(KINDS) == 6
    assert "8:acs:x" not in set[object](same)


@pytest.mark.parametrize("identifier", EACH_KIND, ids=lambda identifier: identifier.kind)
def test_values(identifier: CommunicationIdentifier) -> None:
    """It cannot be changed, its repr makes it again, and copies and pickles of it are equal to it."""
    for name in (*asdict(identifier), "kind", "nonsense"):
        with pytest.raises(AttributeError):
            setattr(identifier, name, "x")
    with pytest.raises(AttributeError):
        del identifier.raw_id
    read = identifier_from_raw_id(identifier.raw_id)
    copies = [read, copy.copy(read), copy.deepcopy(read), pickle.loads(pickle.dumps(read))]  # noqa: S301 - our own
    copies += [eval(repr(read), vars(anyio_acs_credential))]  # noqa: S307 - our own
    for each in copies:
        assert each == identifier
        assert hash(each) == hash(identifier)
        assert asdict(each) == asdict(identifier)


def who(identifier: CommunicationIdentifier) -> str:  # noqa: PLR0911 - a case for each kind
    match identifier:
        case CommunicationUserIdentifier(id):
            return id
        case PhoneNumberIdentifier(is_anonymous=True):
            return "somebody"
        case PhoneNumberIdentifier(number):
            return number
        case MicrosoftTeamsUserIdentifier(user_id, cloud="dod"):
            return f"dod {user_id}"
        case MicrosoftTeamsUserIdentifier(user_id) | MicrosoftTeamsAppIdentifier(user_id):
            return user_id
        case TeamsExtensionUserIdentifier(user_id, tenant_id, resource_id):
            return f"{user_id} {tenant_id} {resource_id}"
        case UnknownIdentifier(id):
            return f"{id}?"
        case other:
            assert_never(other)


@pytest.mark.parametrize(
    ("raw_id", "expected"),
    [
        ("8:acs:r_u", "8:acs:r_u"),
        ("4:anonymous", "somebody"),
        ("4:+1", "+1"),
        ("8:dod:u", "dod u"),
        ("8:orgid:u", "u"),
        ("28:orgid:a", "a"),
        ("8:acs:r_t_u", "u t r"),
        ("48:x", "48:x?"),
    ],
)
def test_match(raw_id: str, expected: str) -> None:
    """A match takes each kind apart, and type checkers see when it has them all."""
    assert who(identifier_from_raw_id(raw_id)) == expected


@pytest.mark.parametrize(("module", "count"), [(identifiers, 10), (identity, 5)])
def test_names_are_public_in_the_package_alone(module: ModuleType, count: int) -> None:
    """Programs that import them from where they once were public get the same."""
    assert not hasattr(module, "__all__")
    found = {name for name in anyio_acs_credential.__all__ if hasattr(module, name)}
    assert len(found) == count
    assert all(getattr(anyio_acs_credential, name) is getattr(module, name) for name in found)


# Bad input

COMPLETE: dict[str, dict[str, object]] = {
    "communicationUser": {"id": "8:acs:x"},
    "phoneNumber": {"value": "+1"},
    "microsoftTeamsUser": {"userId": "u", "isAnonymous": False, "cloud": "public"},
    "microsoftTeamsApp": {"appId": "a", "cloud": "public"},
    "teamsExtensionUser": {"userId": "u", "tenantId": "t", "resourceId": "r", "cloud": "public"},
}
MEMBERS = [(kind, member) for kind, nested in COMPLETE.items() for member in nested]
OPTIONAL = {"isAnonymous", "cloud"}


SPELLINGS = [
    (kind, spelling)
    for kind in COMPLETE
    for snake in [re.sub("([A-Z])", r"_\1", kind).lower()]
    for spelling in (kind, kind.upper(), kind.lower(), kind[0].upper() + kind[1:], snake, snake.upper(), f" {snake}-")
]


@pytest.mark.parametrize(("kind", "member"), [each for each in MEMBERS if each[1] not in OPTIONAL])
def test_a_member_that_is_missing_is_named(kind: str, member: str) -> None:
    """Missing, null, or empty: what identifies must be there."""
    nested = {name: value for name, value in COMPLETE[kind].items() if name != member}
    known: dict[str, object] = {} if kind == "communicationUser" else {"rawId": "x"}
    for broken in ({**known, kind: nested}, {**known, kind: {**nested, member: None}}, {kind: {**nested, member: ""}}):
        with pytest.raises(InvalidIdentifierError, match=f"has no {kind}.{member}: pass the model as the service"):
            identifier_from_wire(broken)


@pytest.mark.parametrize(("kind", "member"), MEMBERS)
def test_a_member_of_a_wrong_type_is_named(kind: str, member: str) -> None:
    with pytest.raises(InvalidIdentifierError, match=rf"{kind}\.{member} is .*, not list: give it as the service"):
        identifier_from_wire({"rawId": "x", kind: {**COMPLETE[kind], member: []}})


@pytest.mark.parametrize("kind", COMPLETE)
def test_models_as_the_documentation_shows_them(kind: str) -> None:
    """Without what is as ever, and without the raw id, which the members make."""
    complete = identifier_from_wire({kind: COMPLETE[kind]})
    brief = {name: value for name, value in COMPLETE[kind].items() if name not in OPTIONAL}
    for raw_id in ({}, {"rawId": None}, {"rawId": ""}, {"rawId": complete.raw_id}):
        for nested in (brief, {**brief, "isAnonymous": None, "cloud": None}):
            found = identifier_from_wire({**raw_id, kind: nested})
            assert (found, asdict(found)) == (complete, asdict(complete))
    assert complete.kind == re.sub("([A-Z])", r"_\1", kind).lower()
    assert complete.raw_id == made({"kind": complete.kind, **attributes(complete)}).raw_id


@pytest.mark.parametrize(("kind", "spelling"), SPELLINGS)
def test_a_kind_in_any_spelling(kind: str, spelling: str) -> None:
    """As each of the official packages spells it. One that another member contradicts is an error."""
    assert identifier_from_wire({"kind": spelling, kind: COMPLETE[kind]}) == identifier_from_wire(
        {kind: COMPLETE[kind]}
    )
    for other in COMPLETE.keys() - {kind}:
        with pytest.raises(InvalidIdentifierError, match=f"says that it is a {kind}, and has {other}: pass the model"):
            identifier_from_wire({"kind": spelling, other: COMPLETE[other]})


# What a model of the official package's, made of JSON, holds: it reads no other names.
FORGIVEN = [
    {"rawId": raw_id, kind: {name: value for name, value in COMPLETE[kind].items() if name != missing}}
    for kind, raw_id in zip(COMPLETE, ("8:acs:x", "4:+1", "8:orgid:u", "28:orgid:a", "8:acs:r_t_u"), strict=True)
    for missing in (*sorted(OPTIONAL & COMPLETE[kind].keys()), *(["id"] if kind == "communicationUser" else []), None)
]


@pytest.mark.parametrize("model", FORGIVEN, ids=str)
@pytest.mark.parametrize("kind", [None, "unknown", "hologram", "PHONENUMBER"])
def test_what_the_official_package_reads_is_read(model: dict[str, Any], kind: str | None) -> None:
    """By its own code, and as the same: it goes by the members, whatever the kind says."""
    if kind == "PHONENUMBER" and "phoneNumber" not in model:
        kind = None  # what contradicts itself is an error here
    utils = pytest.importorskip("azure.communication.callautomation._utils")
    package = import_module("azure.communication.callautomation._generated.models")
    theirs = utils.deserialize_identifier(package.CommunicationIdentifierModel.deserialize({**model, "kind": kind}))
    found = identifier_from_wire({**model, "kind": kind})
    assert (found.kind, found.raw_id) == (theirs.kind.value, theirs.raw_id)
    told = official({"kind": theirs.kind.value, "raw_id": theirs.raw_id, "attributes": theirs.properties})
    if found.kind == "microsoft_teams_user":
        told.setdefault("is_anonymous", False)  # None there
    assert told == attributes(found)


@pytest.mark.parametrize("kind", COMPLETE)
def test_a_raw_id_that_is_missing_is_made(kind: str) -> None:
    """From the members, as the constructors make it."""
    whole = identifier_from_wire({kind: COMPLETE[kind]})
    for model in ({kind: COMPLETE[kind], "rawId": None}, {kind: COMPLETE[kind], "rawId": ""}):
        assert identifier_from_wire(model) == whole
    assert identifier_from_wire(whole.to_wire()) == whole
    assert identifier_from_raw_id(whole.raw_id) == whole


@pytest.mark.parametrize("case", VECTORS["identifier_wire_errors_js"], ids=lambda case: case["error"])
def test_vectors_of_wire_errors(case: dict[str, Any]) -> None:
    """What JavaScript's package refuses for a member that is missing is read where that member identifies nobody."""
    member = re.findall(r"Property (\w+)", case["error"])[0]
    if member in {*OPTIONAL, "rawId"} and COMPLETE.keys() & case["model"].keys():
        assert identifier_from_wire(case["model"]).raw_id
        return
    with pytest.raises(InvalidIdentifierError, match=rf"has no (\w+\.)?{member}:"):
        identifier_from_wire(case["model"])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (None, "an identifier is an object .*, not NoneType: pass the model"),
        ("8:acs:x", "an identifier is an object .*, not str: pass the model"),
        ([("rawId", "x")], "not list"),
        ({}, "has no rawId"),
        ({"rawId": ""}, "has no rawId"),
        ({"kind": "phoneNumber"}, "has no rawId"),
        ({"rawId": "", "communicationUser": {"id": ""}}, "has no communicationUser.id"),
        ({"kind": "phoneNumber", "communicationUser": {"id": "x"}}, "says that it is a phoneNumber, and has comm"),
        ({"rawId": 5}, r"rawId is text \(str\), not int"),
        ({"rawId": "x", "kind": []}, r"kind is text \(str\), not list"),
        ({"rawId": "x", "phoneNumber": "+1"}, "phoneNumber is an object .*, not str"),
        ({"rawId": "x", "phoneNumber": {}, "communicationUser": {}}, "has communicationUser and phoneNumber: leave"),
        ({"rawId": "x", **COMPLETE}, "leave the one that is meant"),
        ({"rawId": "x", "phoneNumber": {"value": "+1", "isAnonymous": "yes"}}, "isAnonymous is True or False, not str"),
        ({"rawId": "x", "phoneNumber": {"value": "+1", "assertedId": 7}}, "phoneNumber.assertedId is text"),
        ({"rawId": 7, "communicationUser": {"id": "x"}}, "rawId is text"),
    ],
    ids=str,
)
def test_models_that_are_none(model: Any, message: str) -> None:
    with pytest.raises(InvalidIdentifierError, match=message):
        identifier_from_wire(model)


@pytest.mark.parametrize("value", [None, 4, b"4:+1", ["4:+1"], CommunicationUserIdentifier("8:acs:x")])
def test_a_raw_id_is_text(value: Any) -> None:
    name = type(value).__name__
    with pytest.raises(InvalidIdentifierError, match=rf"a raw id is text \(str\), not {name}: give"):
        identifier_from_raw_id(value)


@pytest.mark.parametrize(
    ("identifier", "name"),
    [(each, name) for each in EACH_KIND for name in asdict(each)],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
def test_arguments_of_a_wrong_type_are_named(identifier: CommunicationIdentifier, name: str) -> None:
    for wrong in (7, b"x", ["x"]):
        with pytest.raises(InvalidIdentifierError, match=f"^{name} is .*, not {type(wrong).__name__}: give it as"):
            made({"kind": identifier.kind, **asdict(identifier), name: wrong})


def test_bad_input_has_one_type() -> None:
    assert issubclass(InvalidIdentifierError, ValueError)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
NESTED = st.fixed_dictionaries(
    {},
    optional={
        name: st.text(max_size=4) | st.booleans() | JSON
        for name in ("id", "value", "assertedId", "isAnonymous", "userId", "appId", "tenantId", "resourceId", "cloud")
    },
)
MODELS = st.fixed_dictionaries(
    {},
    optional={"rawId": st.text() | JSON, "kind": st.sampled_from([*COMPLETE, "unknown"]) | JSON}
    | dict.fromkeys(COMPLETE, NESTED | JSON),
)


@given(MODELS | JSON)
def test_any_json_is_an_identifier_or_the_one_error(model: Any) -> None:
    """Nothing that JSON can hold does anything else, and what is read is written and read again the same."""
    try:
        identifier = identifier_from_wire(model)
    except InvalidIdentifierError:
        return
    assert identifier_from_wire(identifier.to_wire()) == identifier
