"""What lies in a store: sealed, bound to its place, and readable with each of the keys."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from traceback import TracebackException

import pytest
from hypothesis import given
from hypothesis import strategies as st

import anyio_acs_credential.fleet
from anyio_acs_credential.fleet import Entry, Sealer, StoreError, Taken, TokenStore, new_encryption_key
from anyio_acs_credential.fleet._agreement import agreed
from anyio_acs_credential.fleet._store import next_fence

OLD, NEW = (urlsafe_b64encode(32 * letter).decode() for letter in (b"o", b"n"))


@given(st.text(), st.integers(0, 2**63 - 1), st.binary())
def test_what_is_sealed_is_opened_again(name: str, fence: int, value: bytes) -> None:
    sealer = Sealer([OLD])
    assert sealer.open(name, fence, sealer.seal(name, fence, value)) == value


def test_neither_a_value_nor_a_name_can_be_read() -> None:
    sealer = Sealer([OLD])
    sealed = sealer.seal("token:ana", 1, b"canary")
    assert b"canary" not in sealed
    assert sealed != sealer.seal("token:ana", 1, b"canary")  # nor whether two are the same
    hidden = sealer.name("token:ana")
    assert len(hidden) == 64
    assert bytes.fromhex(hidden)
    assert hidden == Sealer([OLD]).name("token:ana")
    assert len({hidden, sealer.name("token:ben"), sealer.name("cache:ana"), Sealer([NEW]).name("token:ana")}) == 4


@pytest.mark.parametrize(("name", "fence"), [("token:ben", 7), ("cache:ana", 7), ("token:ana", 8), ("token:ana", 6)])
def test_no_entry_passes_for_another(name: str, fence: int) -> None:
    sealer = Sealer([OLD])
    sealed = sealer.seal("token:ana", 7, b"value")
    with pytest.raises(StoreError, match="written as another entry, or as an older one") as caught:
        sealer.open(name, fence, sealed)
    assert caught.value.permanent


@pytest.mark.parametrize("fence", [-1, 2**64])
def test_a_number_that_no_lease_has(fence: int) -> None:
    """A store of somebody's own may give one; what was to be sealed is in no frame."""
    sealer = Sealer([OLD])
    with pytest.raises(
        ValueError, match=rf"from 0 to 2\*\*64 - 1, not {fence}: see how the store numbers its leases"
    ) as caught:
        sealer.seal("token:ana", fence, b"canary")
    traceback = TracebackException.from_exception(caught.value, capture_locals=True)
    ours = [frame.locals for frame in traceback.stack if "anyio_acs_credential/" in frame.filename]
    assert len(ours) == 2
    assert "canary" not in str(ours)
    with pytest.raises(StoreError, match="written as another entry"):
        sealer.open("token:ana", fence, sealer.seal("token:ana", 7, b"value"))


@pytest.mark.parametrize("sealed", [b"", b"nonsense", b"\xff" * 200])
def test_what_none_of_the_keys_opens(sealed: bytes) -> None:
    with pytest.raises(StoreError, match="give all processes the same encryption_keys") as caught:
        Sealer([OLD]).open("token:ana", 7, sealed)
    assert caught.value.permanent


def test_what_was_sealed_with_another_key_or_damaged() -> None:
    sealed = Sealer([new_encryption_key()]).seal("token:ana", 7, b"value")
    with pytest.raises(StoreError):
        Sealer([OLD]).open("token:ana", 7, sealed)
    damaged = bytearray(Sealer([OLD]).seal("token:ana", 7, b"value"))
    damaged[-5] ^= 1
    with pytest.raises(StoreError):
        Sealer([OLD]).open("token:ana", 7, bytes(damaged))


def test_a_key_is_replaced_in_two_steps() -> None:
    """Whoever has both finds and reads what was put under the old one, and who lacks the new one looks elsewhere."""
    before, between, after = Sealer([OLD]), Sealer([NEW, OLD]), Sealer([NEW])
    assert between.older_names("n") == [before.name("n")]
    assert between.open("n", 1, before.seal("n", 1, b"value")) == b"value"
    assert between.name("n") == after.name("n") != before.name("n")
    assert after.open("n", 1, between.seal("n", 1, b"value")) == b"value"
    assert after.older_names("n") == before.older_names("n") == []


def test_who_has_which_key_is_known() -> None:
    """Whoever has one that is in use is among them, and lets in those who have its others."""
    first = agreed(None, Sealer([OLD]))
    between = agreed(first, Sealer([NEW, OLD]))
    assert agreed(between, Sealer([OLD])) != first
    assert set(agreed(between, Sealer([NEW])).split()) == set(between.split())
    with pytest.raises(StoreError, match="have another encryption key: give all processes the same") as caught:
        agreed(first, Sealer([NEW]))
    assert caught.value.permanent
    for _ in range(20):
        between = agreed(between, Sealer([new_encryption_key(), OLD]))
    assert len(between.split()) == 8
    assert agreed(between, Sealer([OLD])).split()[0] == first


@pytest.mark.parametrize(
    ("keys", "kind", "message"),
    [
        (NEW, TypeError, "a list of texts that new_encryption_key"),
        (NEW.encode(), TypeError, "not bytes"),
        (None, TypeError, "not NoneType"),
        ({NEW, OLD}, TypeError, "not set"),
        (frozenset([NEW]), TypeError, "not frozenset"),
        ([NEW.encode()], TypeError, "its number 0 is bytes"),
        ([NEW, 7], TypeError, "its number 1 is int"),
        ([], ValueError, "encryption_keys is empty"),
        ([NEW, "canary"], ValueError, "number 1 of encryption_keys is not a key"),
        (["canary" + 38 * "*"], ValueError, "number 0 of encryption_keys is not a key"),
        (["canary" + 38 * "ä"], ValueError, "number 0 of encryption_keys is not a key"),
        ([NEW[:-1] + "\n"], ValueError, "number 0 of encryption_keys is not a key"),
    ],
)
def test_what_is_no_list_of_keys(keys: object, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        Sealer(keys)  # type: ignore[arg-type]  # the mistake
    assert "canary" not in str(caught.value)


def test_any_order_of_keys_will_do() -> None:
    """And any iterable, which is read once."""
    assert Sealer(key for key in (NEW, OLD)).name("n") == Sealer((NEW,)).name("n")


def test_no_value_is_shown() -> None:
    assert "canary" not in repr(Taken(Entry(1, b"canary"), 1, 0.0))


def test_fences_grow_whatever_the_clock_and_the_store_do() -> None:
    assert next_fence(0, 1_800_000_000.5) == 1_800_000_000_500
    assert next_fence(1_800_000_000_500, 1_800_000_000.5) == 1_800_000_000_501
    assert next_fence(1_800_000_000_500, 5.0) == 1_800_000_000_501


def test_what_makes_a_store() -> None:
    assert not isinstance(object(), TokenStore)
    with pytest.raises(AttributeError, match="fleet' has no attribute 'nonsense'"):
        anyio_acs_credential.fleet.nonsense  # noqa: B018 - the access is the test
    for package in (anyio_acs_credential, anyio_acs_credential.fleet):
        assert set(package.__all__) <= set(dir(package))
