"""Answers that were valid once: each change is small, and most of what comes out is still nearly right."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    Change = Callable[[Random, bytes, Sequence[bytes]], bytes]

LARGEST = 64 * 1024  # bytes; no more than that of an answer is read
_HOLE = "@hole@"

# What stands where another value should: JSON, more or less, so that numbers can be larger than json.dumps writes them.
_ODD = (
    *(b"null", b"true", b"false", b"0", b"-1", b"-0.0", b"3600", b"1e308", b"1e999", b"-1e999", b"NaN", b"-Infinity"),
    *(b"1" + b"0" * digits for digits in (12, 30, 400, 5000)),
    *(
        b'"' + text + b'"'
        for text in (b"", b" ", b"\\u0000", b"\\ud800", b"\xed\xa0\x80", b"\xff", b"\\n", b"\xd9\xa3")
    ),
    *(
        b'"' + text + b'"'
        for text in (b"9" * 5000, b"1e5", b"-1", b"0x10", b"1_000", b"2043570089", b"3600.5", b"soon")
    ),
    *(b'"2034-10-04T10:21:29' + zone + b'"' for zone in (b"Z", b".4729393+00:00", b"", b"+99:99", b" ", b"-00:00")),
    *(b'"9999-12-31T23:59:59.9999999-14:00"', b'"0001-01-01T00:00:00+14:00"', b'"Bearer eyJhbGciOiJub25lIn0.e30."'),
    *(b'"https://elsewhere.example/"', b'"http://login.example/token"', b'"//"', b'"a b"', b'"' + b"a" * 20_000 + b'"'),
    *(b"[]", b"{}", b"[[]]", b"[null]", b'{"":null}', b'{"error":{"error":{}}}', b'["invalid_grant"]'),
    *(b"[" * depth + b"]" * depth for depth in (50, 450, 900, 3000)),
    *(b'{"a":' * depth + b"0" + b"}" * depth for depth in (50, 450, 3000)),
)
_SCRAPS = (
    *(b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b".", b"=", b"-", b"\r\n", b"\x00", b"\xff", b"\xef\xbb\xbf"),
    *(b"\\ud800", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"9" * 5000, b"[" * 3000, b"eyJ", b"%00", b"<html>"),
)
_ENCODINGS = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "utf-7", "cp500")


def mutated(chance: Random, corpus: Sequence[bytes]) -> bytes:
    """One of the corpus, changed once or a few times, 64 KiB at most."""
    data = chance.choice(corpus)
    for _ in range(chance.choice((1, 1, 1, 2, 2, 4))):
        data = chance.choice(_CHANGES)(chance, data, corpus)[:LARGEST]
    return data


def _span(chance: Random, data: bytes) -> tuple[int, int]:
    start = chance.randrange(len(data) + 1)
    return start, min(start + chance.choice((1, 1, 2, 8, 64, 4096)), len(data))


def _flip(chance: Random, data: bytes, _corpus: Sequence[bytes]) -> bytes:
    at, _ = _span(chance, data[:-1])
    return data[:at] + bytes([(data[at] if data else 0) ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def _delete(chance: Random, data: bytes, _corpus: Sequence[bytes]) -> bytes:
    start, end = _span(chance, data)
    return data[:start] + data[end:]


def _duplicate(chance: Random, data: bytes, _corpus: Sequence[bytes]) -> bytes:
    start, end = _span(chance, data)
    return data[:start] + data[start:end] * chance.choice((2, 2, 3, 1000)) + data[end:]


def _splice(chance: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    start, end = _span(chance, data)
    other = chance.choice(corpus)
    from_, to = _span(chance, other)
    return data[:start] + other[from_:to] + data[end:]


def _insert(chance: Random, data: bytes, _corpus: Sequence[bytes]) -> bytes:
    start, end = _span(chance, data)
    return data[:start] + chance.choice(_SCRAPS) + data[chance.choice((start, end)) :]


def _encode_wrongly(chance: Random, data: bytes, _corpus: Sequence[bytes]) -> bytes:
    return data.decode("utf-8", "replace").encode(chance.choice(_ENCODINGS), "replace")


def _change_json(chance: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    """Take a value out, exchange it, name it twice or put it one level deeper."""
    try:
        root = {"": json.loads(data)}
        holder, key = _somewhere(chance, root)
        kept, holder[key] = holder[key], _HOLE
        text = json.dumps(root[""], ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
        old = json.dumps(kept).encode()
    except (ValueError, RecursionError):
        return _flip(chance, data, corpus)
    odd = chance.choice(_ODD)
    wrapped = (b"[" + old + b"]", b'{"value":' + old + b"}", json.dumps(old.decode()).encode())
    twice = odd + b"," + json.dumps(key).encode() + b":" + old if isinstance(key, str) else odd + b"," + old
    new = chance.choice((odd, odd, odd, odd, twice, chance.choice(wrapped)))
    return text.replace(json.dumps(_HOLE).encode(), new)


def _forget_json(chance: Random, data: bytes, corpus: Sequence[bytes]) -> bytes:
    try:
        root = {"": json.loads(data)}
        holder, key = _somewhere(chance, root)
        del holder[key]
        return json.dumps(root.get("")).encode()
    except (ValueError, RecursionError):
        return _delete(chance, data, corpus)


def _somewhere(chance: Random, holder: Any) -> tuple[Any, Any]:
    """A container in a tree, and one of its keys."""
    while True:
        key = chance.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
        inner = holder[key]
        if not isinstance(inner, dict | list) or not inner or chance.random() < 0.1:
            return holder, key
        holder = inner


_CHANGES: tuple[Change, ...] = (
    *(_change_json,) * 6,
    *(_forget_json, _flip, _delete, _duplicate, _splice, _insert, _encode_wrongly),
)
