"""How values are sealed for a store: encrypted, authenticated, and bound to their name and fence."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode
from typing import TYPE_CHECKING

from .._common.errors import explained, wrong_type
from .._common.public import public
from .._common.redaction import Secret
from ._store import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterable

_HASH, _FENCE = 32, 8  # bytes before each value that bind it to its name and to its fence
_NAMES = b"anyio-acs-credential: names in a store"  # derives the key that hides names from the one that encrypts


def new_encryption_key() -> str:
    """A new random key for `encryption_keys`. Keep it with the program's other secrets, and out of its code.

    Returns:
        The text of a Fernet key: 32 bytes, in the URL-safe base64.
    """
    from cryptography.fernet import Fernet

    return Fernet.generate_key().decode()


class Sealer:
    """Seals values for a store, and opens them. Use it for stores of your own as well.

    Each value is sealed together with its name and its fence, so that whoever can write to the store can neither move
    it to another name nor pass an old value off as a new one.

    A key is replaced in two steps: put the new one in front of the old one in every process; later, when nothing that
    was put under the old one is wanted any more, take that away. In between, a process that has both keys finds what
    the others have put; those that have the old one alone are a fleet by themselves. The stores of this package refuse
    a process that has none of the keys that the others use.

    Args:
        encryption_keys: Texts that `new_encryption_key()` made. The first one encrypts and hides names; all decrypt.

    Raises:
        TypeError: when they are not a list of texts.
        ValueError: when there is no key, or one was not made by `new_encryption_key()`. The message does not show it.
    """

    __slots__ = ("_fernet", "_names")

    def __init__(self, encryption_keys: Iterable[str]) -> None:
        from cryptography.fernet import Fernet, MultiFernet

        hidden, encryption_keys = Secret(encryption_keys), ()  # no frame that an error passes shows one
        keys = _checked(hidden)
        self._fernet = MultiFernet([Fernet(key.value) for key in keys])
        # Not the last key, under which all processes would agree on names while a key is added in front: a process that
        # lacks the new key could not read the entries, and removing the old key would lose all that token caches keep.
        self._names = Secret([hmac.digest(urlsafe_b64decode(key.value), _NAMES, "sha256") for key in keys])

    def name(self, name: str) -> str:
        """The name that stands in the store: a keyed hash, which reveals nothing to whoever reads the store.

        Args:
            name: The name.

        Returns:
            64 hexadecimal digits, the same for all who have the same first key.
        """
        return self._hashes(name)[0].hex()

    def older_names(self, name: str) -> list[str]:
        """The names under the keys behind the first one, where other processes put entries while a key is replaced.

        Args:
            name: The name.

        Returns:
            One name for each further key; an empty list while no key is being replaced.
        """
        return [hashed.hex() for hashed in self._hashes(name)[1:]]

    def seal(self, name: str, fence: int, value: bytes) -> bytes:
        """A value sealed for a store.

        Args:
            name: The name under which it will be kept.
            fence: The fence with which it will be kept.
            value: The bytes to seal.

        Returns:
            ASCII.

        Raises:
            ValueError: when the fence is no number that a lease has.
        """
        hidden, value = Secret(value), b""  # no frame that an error passes shows it
        return self._fernet.encrypt(self._hashes(name)[0] + _fence(fence) + hidden.value)

    def open(self, name: str, fence: int, sealed: bytes) -> bytes:
        """The value that was sealed.

        Args:
            name: The name under which it was kept, by `name()` or by one of `older_names()`.
            fence: The fence with which it was kept.
            sealed: The sealed value.

        Returns:
            The bytes that were sealed.

        Raises:
            UnreadableError: when none of the keys opens it, or it was sealed for another name or fence.
        """
        from cryptography.fernet import InvalidToken

        try:
            opened = Secret(self._fernet.decrypt(sealed))
        except (InvalidToken, TypeError):
            raise explained(
                "another-encryption-key",
                UnreadableError(
                    "what lies in the store was encrypted with another key, or damaged: give all processes the same "
                    "encryption_keys",
                    permanent=True,
                ),
            ) from None
        written_as, rest = opened.value[:_HASH], Secret(opened.value[_HASH:])
        if written_as not in self._hashes(name) or int.from_bytes(rest.value[:_FENCE]) != fence:
            raise explained(
                "moved-entry",
                UnreadableError(
                    "what lies in the store was written as another entry, or as an older one: see who else can write "
                    "to the store",
                    permanent=True,
                ),
            )
        value: bytes = rest.value[_FENCE:]
        return value

    def _hashes(self, name: str) -> list[bytes]:
        hidden = name.encode("utf-8", "surrogatepass")
        return [hmac.digest(key, hidden, "sha256") for key in self._names.value]


def _fence(fence: int) -> bytes:
    try:
        return fence.to_bytes(_FENCE)
    except OverflowError:
        raise explained(
            "fence",
            ValueError(f"a fence is a number from 0 to 2**64 - 1, not {fence}: see how the store numbers its leases"),
        ) from None


def _checked(hidden: Secret) -> list[Secret]:
    # The first key encrypts, and a set has no first one.
    if isinstance(hidden.value, str | bytes | set | frozenset) or not hasattr(hidden.value, "__iter__"):
        raise wrong_type(
            "encryption-keys", "encryption_keys is a list of texts that new_encryption_key() made", hidden.value
        )
    checked = [Secret(key) for key in hidden.value]
    if not checked:
        raise explained(
            "encryption-keys", ValueError("encryption_keys is empty: give a list with a key of new_encryption_key()")
        )
    for place, key in enumerate(checked):
        if not isinstance(key.value, str):
            raise explained(
                "encryption-keys",
                TypeError(
                    f"encryption_keys is a list of texts that new_encryption_key() made, and its number {place} is "
                    f"{type(key.value).__name__}"
                ),
            )
        if not _is_key(key):
            raise explained(
                "encryption-keys",
                ValueError(
                    f"number {place} of encryption_keys is not a key of new_encryption_key(): give its 44 characters "
                    "as they were printed"
                ),
            )
    return checked


def _is_key(key: Secret) -> bool:
    try:
        return len(key.value) == 44 and len(urlsafe_b64decode(key.value)) == 32
    except ValueError:
        return False


public(Sealer, new_encryption_key, module="fleet")
