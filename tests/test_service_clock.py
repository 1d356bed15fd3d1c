"""What an answer proves of the service's clock, and what is believed and said of it."""

from __future__ import annotations

import logging
import random
from email.utils import formatdate

import pytest

from anyio_acs_credential._tokens import clock_warning
from anyio_acs_credential._tokens.clock_warning import describe, tell
from anyio_acs_credential._tokens.service_clock import Moment, Proof, ServiceClock, proof_in

NOW = 1_800_000_000.0
HOUR, YEAR = 3600.0, 365 * 86_400.0
OFFSETS = [5.0, 360.0, 3 * HOUR, 10 * YEAR]
BOTH_WAYS = [*OFFSETS, *(-offset for offset in OFFSETS)]


class HandClock:
    """Is set by hand."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def time(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What was told in this process, which begins with nothing."""
    told: dict[str, float] = {}
    monkeypatch.setattr(clock_warning, "_told", told)
    return told


def dated(service: float, *others: tuple[str, str]) -> list[tuple[str, str]]:
    return [("date", formatdate(service, usegmt=True)), *others]


def proof(offset: float, *, took: float = 0.2) -> Proof:
    """Of an answer that was written halfway, and received at NOW by a service's clock that ours is ahead of."""
    ours = NOW + offset
    found = proof_in(dated(NOW - took / 2), Moment(ours - took, 50.0), Moment(ours, 50.0 + took))
    assert found is not None
    return found


# One answer


@pytest.mark.promise("R86")
@pytest.mark.parametrize("offset", [0.0, *BOTH_WAYS])
@pytest.mark.parametrize("took", [0.0, 0.2, 4.0, 60.0])
def test_an_answer_proves_an_interval_that_holds_the_truth(offset: float, took: float) -> None:
    """It is as wide as the request took, and a second on each side for a `Date` in whole seconds."""
    found = proof(offset, took=took)
    assert found.least <= offset <= found.most
    assert found.most - found.least == pytest.approx(took + 2)


@pytest.mark.promise("R86")
def test_it_holds_the_truth_wherever_in_the_second_and_the_request_it_was_written() -> None:
    chance = random.Random(1)  # noqa: S311 - to be the same each time
    for _ in range(2000):
        offset, took = chance.uniform(-1e5, 1e5), chance.uniform(0, 70)
        end = NOW + chance.random()
        written = end - took * chance.random() - offset
        found = proof_in(dated(written), Moment(end - took, 0.0), Moment(end, took))
        assert found is not None
        assert found.least <= offset <= found.most


@pytest.mark.promise("R86")
@pytest.mark.parametrize("took", [0.2, 10.0, 60.0])
def test_a_right_clock_is_never_called_wrong(took: float) -> None:
    """However long the answer took."""
    for written in (0.0, took / 2, took):
        found = proof_in(dated(NOW - written), Moment(NOW - took, 0.0), Moment(NOW, took))
        assert found is not None
        assert found.offset is None


@pytest.mark.promise("R86")
@pytest.mark.parametrize("offset", [90.0, -90.0])
def test_an_answer_that_took_a_minute_proves_a_minute_less(offset: float) -> None:
    """So one that was held up on its way moves nothing that it cannot prove."""
    slow, quick = proof(offset, took=60.0).offset, proof(offset, took=0.2).offset
    assert slow is not None
    assert quick is not None
    assert abs(slow) == pytest.approx(abs(offset) - 31)
    assert abs(quick) == pytest.approx(abs(offset), abs=2)


@pytest.mark.parametrize("held_up", [8 * HOUR, 45.0])
def test_a_machine_that_slept_between_request_and_answer_proves_nothing_by_it(held_up: float) -> None:
    """The monotonic clock stood still, and the `Date` is as old as the sleep was long."""
    found = proof_in(dated(NOW - held_up), Moment(NOW - held_up - 0.1, 50.0), Moment(NOW, 50.1))
    assert found is not None
    assert found.offset is None


@pytest.mark.parametrize("step", [3 * HOUR, -3 * HOUR])
def test_a_clock_that_was_set_between_request_and_answer(step: float) -> None:
    """The difference is that of now: what was right by then is believed, what is wrong now may be found out later."""
    right_now = proof_in(dated(NOW), Moment(NOW - step, 50.0), Moment(NOW, 50.1))
    wrong_now = proof_in(dated(NOW - step), Moment(NOW - step, 50.0), Moment(NOW, 50.1))
    assert right_now is not None
    assert wrong_now is not None
    assert right_now.offset is None
    assert (wrong_now.offset is None) == (step > 0)


GARBAGE = [
    "",
    "0",
    "-1",
    "1800000000",
    "now",
    "Fri, 15 Jan 2027 08:00:00",
    "Fri, 15 Jan 2027 08:00:00 +0000",
    "Fri, 15 Jan 2027 08:00:00 UTC",
    "Fri, 15 Jan 2027 09:00:00 CET",
    "Thu, 15 Jan 2027 08:00:00 GMT",
    "15 Jan 2027 08:00:00 GMT",
    "Friday, 15-Jan-27 08:00:00 GMT",
    "Fri Jan 15 08:00:00 2027",
    "Fri, 15 Jan 2027 25:00:00 GMT",
    "Fri, 15 Jan 2027 08:61:00 GMT",
    "Fri, 31 Feb 2027 08:00:00 GMT",
    "Fri, 15 Jan 99999999 08:00:00 GMT",
    "fri, 15 jan 2027 08:00:00 gmt",
    "Fri, 15 Jan 2027 08:00:00 GMT, Fri, 15 Jan 2027 08:00:00 GMT",
    "Fri, 15 Jan 2027 08:00:00 GMT\x00",
    "2027-01-15T08:00:00Z",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Thu, 31 Dec 2009 23:59:59 GMT",
    "Wed, 01 Jan 2200 00:00:00 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Пт, 15 янв 2027 08:00:00 GMT",
    "9" * 5000,
]


@pytest.mark.promise("R86")
@pytest.mark.parametrize("date", GARBAGE, ids=range(len(GARBAGE)))
def test_a_date_that_is_malformed_or_absurd_proves_nothing(date: str) -> None:
    """A sender has one form to write (RFC 9110, section 5.6.7): what differs was written by something else."""
    assert proof_in([("Date", date)], Moment(NOW, 0.0), Moment(NOW, 0.1)) is None


@pytest.mark.promise("R86")
def test_what_a_cache_repeats_proves_nothing() -> None:
    moments = Moment(NOW, 0.0), Moment(NOW, 0.1)
    assert proof_in(dated(NOW, ("Age", "30")), *moments) is None
    assert proof_in(dated(NOW, ("age", "soon")), *moments) is None
    assert proof_in(dated(NOW, ("age", "0")), *moments) is not None


def test_no_date_or_two_of_them_prove_nothing() -> None:
    moments = Moment(NOW, 0.0), Moment(NOW, 0.1)
    assert proof_in([], *moments) is None
    assert proof_in([*dated(NOW), *dated(NOW + 9)], *moments) is None
    assert proof_in([("DATE", f" {formatdate(NOW, usegmt=True)} ")], *moments) is not None


@pytest.mark.promise("R86")
def test_nothing_breaks_the_reader() -> None:
    """Dates that were mutated: read to the letter, or nothing."""
    chance = random.Random(2)  # noqa: S311 - to be the same each time
    good = formatdate(NOW, usegmt=True)
    for _ in range(5000):
        letters = list(good)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(letters))
            letters[place : place + chance.randint(0, 2)] = chance.choice(["", "0", "9", ":", " ", "ü", "-", "GMT"])
        text = "".join(letters)
        found = proof_in([("date", text)], Moment(NOW, 0.0), Moment(NOW, 0.1))
        assert found is None or formatdate(found.date, usegmt=True) == text.strip()


# What is believed


@pytest.mark.promise("R85")
@pytest.mark.parametrize("offset", BOTH_WAYS)
def test_one_answer_is_enough(offset: float) -> None:
    """From then on its time is told, and lives are counted by it, on the safe side."""
    clock = HandClock(NOW + offset)
    service = ServiceClock("s", clock)
    assert (service.offset, service.time(), service.life(NOW + HOUR)) == (None, NOW + offset, None)
    service.learn(proof(offset))
    assert service.offset == pytest.approx(offset, abs=2)
    assert service.time() == pytest.approx(NOW, abs=2)
    left = service.life(NOW + HOUR)
    assert left is not None
    assert HOUR - 2.3 <= left <= HOUR
    clock.now += 10
    assert service.life(NOW + HOUR) == pytest.approx(left - 10)


@pytest.mark.promise("R85")
@pytest.mark.parametrize("offset", BOTH_WAYS)
def test_a_clock_that_was_put_right_is_believed_within_one_answer(offset: float) -> None:
    service = ServiceClock("s", HandClock())
    service.learn(proof(offset))
    service.learn(proof(0.0))
    assert (service.offset, service.time(), service.life(NOW)) == (None, NOW, None)


def test_what_is_believed_moves_as_little_as_the_next_answer_allows() -> None:
    """Slow answers take nothing from what a quick one has proved, and the next step of the clock counts at once."""
    service = ServiceClock("s", HandClock())
    service.learn(proof(100.0))
    before = service.offset
    service.learn(proof(100.0, took=60.0))
    service.learn(None)
    assert service.offset == before
    service.learn(proof(-3 * HOUR))
    assert service.offset == pytest.approx(-3 * HOUR, abs=2)


def test_a_refusal_is_laid_to_the_time_only_where_that_differs_by_more_than_a_minute() -> None:
    found = proof(0.0, took=0.0)
    assert [ServiceClock.refuses(found, NOW + seconds) for seconds in (-61, -60, 0, 60, 61)] == [
        True,
        False,
        False,
        False,
        True,
    ]
    assert not ServiceClock.refuses(None, NOW + HOUR)


# What is said


@pytest.mark.parametrize(
    ("offset", "says"),
    [
        (2 * HOUR + 180, "2 h 3 min ahead of"),
        (-2 * HOUR + 1.5, "2 h behind"),
        (61, "1 min ahead of"),
        (-10 * YEAR, "3650 days behind"),
        (86_400 * 3 + HOUR * 5 + 60, "3 days 5 h ahead of"),
        (86_400, "1 day ahead of"),
        (-86_400 - 120, "1 day 2 min behind"),
    ],
)
def test_a_difference_is_said_in_its_two_largest_units(offset: float, says: str) -> None:
    assert describe(offset) == f"this machine's clock is {says} the service's"


@pytest.mark.promise("R88")
def test_it_is_told_once_that_a_clock_is_wrong_and_once_that_it_is_right(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "anyio_acs_credential")
    for offset in (None, 0.0, 59.0, 7380.0, 7380.0, 7379.0, None, None, -7200.0, 20.0):
        tell("a", offset)
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", WRONG.format("2 h 3 min ahead of")),
        ("INFO", RIGHT),
        ("WARNING", WRONG.format("2 h behind")),
        ("INFO", RIGHT),
    ]
    assert [vars(record)["acs_event"] for record in caplog.records[:2]] == ["clock_wrong", "clock_right"]
    assert [vars(record)["acs_clock_offset"] for record in caplog.records[:2]] == [7380.0, 0.0]


WRONG = (
    "this machine's clock is {} the service's: set it, or have it set (NTP); "
    "until then this program goes by the service's time"
)
RIGHT = "this machine's clock agrees with the service's again"


@pytest.mark.promise("R88")
def test_a_thousand_who_find_out_tell_it_once(caplog: pytest.LogCaptureFixture) -> None:
    """The clock is the machine's. It is right again when nobody knows better."""
    caplog.set_level(logging.INFO, "anyio_acs_credential")
    for number in range(1000):
        tell(str(number), 7200.0 + number / 100)
    for number in range(1000):
        tell(str(number), None)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_two_services_with_two_clocks_take_no_turns(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "anyio_acs_credential")
    first, second = ServiceClock("first", HandClock()), ServiceClock("second", HandClock())
    for _ in range(5):
        first.learn(proof(3 * HOUR))
        second.learn(proof(0.0))
    assert (first.offset is None, second.offset) == (False, None)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_log_that_raises_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(clock_warning._logger, "log", refuse)
    service = ServiceClock("s", HandClock())
    service.learn(proof(3 * HOUR))
    assert service.offset is not None
