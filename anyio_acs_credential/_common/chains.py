"""What an exception brings along: those that led to it, and a traceback that grows with each raise."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import CodeType


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, and each that led to it, as its cause or its context. None leads nowhere."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # `raise error from error` is a circle
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__  # httpcore raises "from None", which keeps the context alone


def cut_repeats(error: BaseException) -> None:
    """Cut an exception's traceback down to the latest raise. The function that catches the exception calls this.

    An object that is raised again and again, such as the stored failure of a circuit breaker, grows its traceback each
    time, and keeps every frame in it alive. So does one that is a cause, a context or a member of what is caught.
    """
    caught = error.__traceback__
    if caught is not None:
        for each in _all_in(error):
            if _cut(each.__traceback__, caught.tb_frame.f_code) and each is not error:
                # What looks like an earlier raise may be a recursion whose steps may all catch it. So nothing is cut
                # yet: this entry shows, when the same object comes again, where the raise before it begins.
                begins = TracebackType(each.__traceback__, caught.tb_frame, caught.tb_lasti, caught.tb_lineno)
                each.with_traceback(begins)


def _cut(head: TracebackType | None, catcher: CodeType) -> bool:
    """Cut a traceback where the catcher comes again; whether it did, or the function at the head of it does."""
    codes = catcher, head.tb_frame.f_code if head is not None else None
    again = False
    entry = head
    while entry is not None and (following := entry.tb_next) is not None:
        again = again or following.tb_frame.f_code in codes
        if following.tb_frame.f_code is catcher:
            entry.tb_next = None
        entry = entry.tb_next
    return again


def _all_in(error: BaseException) -> Iterator[BaseException]:
    """An exception, its cause, its context and its members, and all that are in those."""
    seen: set[int] = set()
    found: list[BaseException | None] = [error]
    while found:
        each = found.pop()
        if each is not None and id(each) not in seen:
            seen.add(id(each))
            yield each
            found += each.__cause__, each.__context__
            found += each.exceptions if isinstance(each, BaseExceptionGroup) else ()
