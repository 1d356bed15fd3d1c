"""Broken answers, a million for each parser: `python tests/fuzz.py [PARSER...] [--mutations N] [--seed N]`.

Each has to be read or refused with the documented error, in a millisecond at the median. Entra's answers pass through
real MSAL on their way, as they do in a program; `grant` is what becomes of them without it. `raw_id` and `wire` are
identifiers, which come in any answer, and from elsewhere.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from array import array
from base64 import urlsafe_b64encode
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from statistics import median
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import h11
import httpx
import msal
from mutations import mutated

from anyio_acs_credential import (
    AccessToken,
    CommunicationIdentifier,
    InvalidIdentifierError,
    InvalidTokenError,
    ServiceError,
    TeamsPhoneAssignment,
    TokenSourceError,
    identifier_from_raw_id,
    identifier_from_wire,
)
from anyio_acs_credential._exchange.wire import read_exchange
from anyio_acs_credential._http.answer import Answer
from anyio_acs_credential._http.challenge import claims_wanted
from anyio_acs_credential._tokens.clock_warning import tell
from anyio_acs_credential._tokens.service_clock import Moment, ServiceClock, proof_in
from anyio_acs_credential.entra import DeviceCodeCredential, OnBehalfOfCredential
from anyio_acs_credential.entra._grant import take
from anyio_acs_credential.entra._secrets import KNOWN
from anyio_acs_credential.entra._transport import _read
from anyio_acs_credential.identity._teams_phone import read_assignment, refuse_assignment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from anyio_acs_credential.entra._grant import Grant
    from anyio_acs_credential.entra._transport import Response

MUTATIONS = 1_000_000
MOMENT = Moment(1_800_000_000.0, 0.0)
SLOWEST = 1e-3  # seconds, at the median
SHOWN = 5  # problems that are kept of each parser
EACH = 10  # after so many broken answers a good one is read: what spoils an application does so for good

SCOPE = "https://communication.azure.com/clients/.default"
AUTHORITY = "https://login.example/tenant"
ADVICE = "sign in"
ACCEPTED = "accepted"


def packed(*contents: Any) -> tuple[bytes, ...]:
    return tuple(json.dumps(content).encode() for content in contents)


def segment(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def jwt_of(payload: bytes) -> bytes:
    return b".".join((segment(b'{"alg":"RS256","typ":"JWT"}'), segment(payload), segment(bytes(range(32)))))


CLAIMS = packed(
    {"exp": 4102444800, "iat": 1700000000, "skypeid": "acs:resource_user", "acsScope": "chat,voip", "aud": "x"},
    {"exp": 4102444800.5, "name": "Zoë", "xms_cc": ["CP1"], "nested": {"a": [1, 2, {"b": None}]}},
)
ID_CLAIMS = packed(
    {"iss": AUTHORITY, "aud": "app", "exp": 4102444800, "iat": 1700000000, "sub": "s", "oid": "u", "tid": "t"},
    {"iss": AUTHORITY, "aud": ["app"], "exp": 4102444800, "sub": "s", "preferred_username": "alice@contoso.example"},
)
JWTS = tuple(map(jwt_of, CLAIMS))
EXCHANGES = packed(
    {
        "identity": {"id": "8:acs:resource_tenant_user"},
        "accessToken": {"token": JWTS[0].decode(), "expiresOn": "2099-10-04T10:21:29.4729393+00:00"},
    },
    {"accessToken": {"token": "opaque", "expiresOn": 4102444800}},
    {"accessToken": {"token": JWTS[1].decode(), "expiresOn": "4102444800.75"}, "extra": [1, {"a": None}]},
)
REFUSALS = packed(
    {"error": {"code": "TooManyRequests", "message": "Slow down.", "innererror": {"code": "x"}}},
    {"error": {"code": "Denied", "message": "The token eyJhbGciOiJub25lIn0.e30. is not accepted."}},
)
OAUTH_REFUSALS = packed(
    {"error": "invalid_grant", "error_description": "AADSTS70000: no", "error_codes": [70000], "correlation_id": "c"},
    {"error": "temporarily_unavailable", "suberror": "x", "claims": '{"access_token":{}}', "timestamp": "2026-01-01"},
)
CHALLENGES = tuple(
    b'PoP nonce="1", Bearer realm="", error="insufficient_claims", claims="' + segment(claims) + b'"'
    for claims in packed({"access_token": {"nbf": {"essential": True, "value": "1604106651"}}})
)
HEADERS = {
    "retry-after": (b"17", b"Wed, 21 Oct 2099 07:28:00 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"1.5"),
    "retry-after-ms": (b"1700",),
    "date": (b"Fri, 15 Jan 2027 08:00:00 GMT", b"Thu, 01 Jan 1970 00:00:00 GMT", b"Wed, 21 Oct 2099 07:28:00 GMT"),
    "age": (b"0", b"30"),
    "x-ms-request-id": (b"5a9d2d40-0000-4000-8000-2f1f0f0f0f0f",),
    "www-authenticate": CHALLENGES,
}
DISCOVERIES = packed(
    {
        "issuer": AUTHORITY,
        "authorization_endpoint": f"{AUTHORITY}/authorize",
        "token_endpoint": f"{AUTHORITY}/token",
        "device_authorization_endpoint": f"{AUTHORITY}/devicecode",
        "response_modes_supported": ["query", "fragment", "form_post"],
        "tenant_region_scope": None,
    }
)
DEVICE_CODES = packed(
    {
        "user_code": "ABC",
        "device_code": "the-device-code",
        "verification_uri": "https://login.example/device",
        "expires_in": 900,
        "interval": 5,
        "message": "To sign in, …",
    }
)
TOKENS = packed(
    {
        "token_type": "Bearer",
        "scope": SCOPE,
        "expires_in": 3600,
        "refresh_in": 1800,
        "access_token": JWTS[0].decode(),
        "refresh_token": "a-refresh-token",
        "id_token": jwt_of(ID_CLAIMS[0]).decode(),
        "client_info": segment(b'{"uid":"u","utid":"t"}').decode(),
    },
    {"token_type": "Bearer", "scope": SCOPE, "expires_in": "3600", "access_token": "opaque", "foci": "1"},
)
GUID = "45ab2481-1c1c-4005-be24-0ffb879b1130"
ASSIGNMENTS = packed(
    {"objectId": GUID, "tenantId": GUID, "principalType": "user", "clientIds": [GUID, "app"]},
    {"objectId": GUID, "tenantId": GUID, "principalType": "teamsResourceAccount", "clientIds": None},
)
RAW_IDS = (
    *(f"8:{cloud}:{GUID}_{GUID}" for cloud in ("acs", "dod-acs", "gcch-acs", "spool")),
    *(f"8:{cloud}acs:{GUID}_{GUID}_{GUID}" for cloud in ("", "dod-", "gcch-")),
    *(f"{kind}:{cloud}:{GUID}" for kind in (8, 28) for cloud in ("orgid", "dod", "gcch")),
    *(f"8:teamsvisitor:{GUID}", "4:+14255550123", "4:+14255550123_1_2", "4:anonymous", f"48:{GUID}"),
)
MODELS = packed(*(identifier_from_raw_id(raw_id).to_wire() for raw_id in RAW_IDS))
NO_TEXTS: tuple[Any, ...] = (None, b"4:1", 41, 4.1, True, ["4:1"], {"rawId": "4:1"})


class Parser(NamedTuple):
    """What reads answers.

    Attributes:
        make: Makes one that is broken.
        read: Reads it. What it returns is accepted if `holds` says so.
        error: The only exception that is documented.
        holds: Whether a result is one that a program can work with.
        recovers: Reads a good answer, to see that the broken ones before have left nothing behind.
    """

    make: Callable[[Random], Any]
    read: Callable[[Any], Any]
    error: type[Exception]
    holds: Callable[[Any], bool]
    recovers: Callable[[], object] = int


@dataclass
class Found:
    """What a parser did.

    Attributes:
        outcomes: How often it accepted, or raised which documented error.
        seconds: What each took.
        problems: Some of the inputs that it did anything else with, and what.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    seconds: array[float] = field(default_factory=lambda: array("d"))
    problems: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        slowest = max(range(len(self.seconds)), key=self.seconds.__getitem__)
        outcomes = ", ".join(f"{name} {count:,}" for name, count in self.outcomes.most_common())
        worst = f"worst {self.seconds[slowest] * 1e3:.1f} ms (mutation {slowest})"
        times = f"median {median(self.seconds) * 1e3:.3f} ms, {worst}"
        return "\n".join((f"{len(self.seconds):,} mutations: {outcomes}; {times}", *self.problems))


@contextmanager
def unlogged() -> Iterator[None]:
    """MSAL has an opinion on each answer."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(disabled)


@unlogged()
def fuzz(parser: Parser, mutations: int, seed: int = 0) -> Found:
    """Give a parser so many broken answers, the same ones for the same seed."""
    found = Found()
    worst = 0.0
    for number in range(mutations):
        given = parser.make(Random((seed << 32) + number))  # noqa: S311 - the same ones each time
        seconds, outcome, problem = _read_one(parser, given)
        if seconds > worst:  # or the machine was at something else
            worst = seconds = max(worst, min(seconds, *(_read_one(parser, given)[0] for _ in range(4))))
        if number % EACH == 0:
            problem = problem or _spoilt(parser)
        found.seconds.append(seconds)
        found.outcomes[outcome] += 1
        if problem and len(found.problems) < SHOWN:
            found.problems.append(f"seed {seed}, mutation {number}: {problem[:300]}\n    {_shown(given)}")
    return found


def _spoilt(parser: Parser) -> str:
    """What is wrong with a good answer."""
    try:
        parser.recovers()
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        return f"a good answer after it: {error!r}"
    return ""


def _read_one(parser: Parser, given: Any) -> tuple[float, str, str]:
    """Seconds, the outcome, and what is wrong with it."""
    began = time.perf_counter()
    try:
        result = parser.read(given)
    except parser.error as error:
        outcome, problem = type(error).__name__, "" if str(error).isprintable() else f"its message is {error!r}"
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        outcome, problem = "undocumented", repr(error)
    else:
        outcome, problem = ACCEPTED, "" if parser.holds(result) else f"accepted: {result!r}"
    return time.perf_counter() - began, outcome, problem


def _shown(given: Any) -> str:
    body = f" with the body {given.body[:2000]!r}" if isinstance(given, Answer) else ""
    return f"{repr(given)[:2000]}{body}"


# What is given


def answer_of(good: Sequence[bytes], refusals: Sequence[bytes], chance: Random) -> Answer:
    """An answer, most often with the status of its kind."""
    well = chance.random() < 0.7
    statuses = (200, 200, 200, 201, 204) if well else (302, 400, 400, 401, 401, 403, 404, 429, 500, 503, 999)
    names = chance.sample(list(HEADERS), chance.choice((0, 1, 2)))
    headers = tuple((name, mutated(chance, HEADERS[name]).decode("latin-1")) for name in names)
    body = mutated(chance, good if well else refusals)
    return Answer(chance.choice(statuses), headers, body, proof=proof_in(headers, MOMENT, MOMENT))


def token_answer(chance: Random) -> Answer:
    """An answer with tokens, or with one JWT whose payload alone is broken."""
    if chance.random() < 0.7:
        return answer_of(TOKENS, OAUTH_REFUSALS, chance)
    content = json.loads(TOKENS[0])
    name = chance.choice(("access_token", "id_token", "client_info"))
    if name == "client_info":
        content[name] = segment(mutated(chance, packed({"uid": "u", "utid": "t"}))).decode()
    else:
        content[name] = jwt_of(mutated(chance, ID_CLAIMS)).decode()
    return Answer(200, (), json.dumps(content).encode())


def jwt_text(chance: Random) -> str:
    """A JWT whose text is broken, or its payload alone."""
    data = mutated(chance, JWTS) if chance.random() < 0.5 else jwt_of(mutated(chance, CLAIMS))
    return data.decode("utf-8", chance.choice(("replace", "surrogateescape")))


def raw_id_text(chance: Random) -> Any:
    """A raw id that is broken, or, now and then, what is no text at all."""
    if chance.random() < 0.1:
        return chance.choice(NO_TEXTS)
    data = mutated(chance, [raw_id.encode() for raw_id in RAW_IDS])
    return data.decode("utf-8", chance.choice(("replace", "surrogateescape")))


def wire_model(chance: Random) -> Any:
    """What a broken wire model says, as JSON; where it no longer is any, its bytes."""
    data = mutated(chance, MODELS)
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data


# What reads it


def read_exchanged(answer: Answer) -> AccessToken:
    claims = claims_wanted(answer)
    if claims is not None and not isinstance(json.loads(claims), dict):
        raise AssertionError(claims)
    clock = ServiceClock("fuzz")
    clock.learn(answer.proof)
    tell("fuzz", None)  # what it has found out is not the process's to keep
    return read_exchange(answer, clock)


class Wire:
    """What MSAL's requests are answered with, in place of the network; they are ones that HTTP can carry."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []

    def request(self, method: str, url: str, headers: Mapping[str, str], _body: bytes | None) -> Response:
        target = httpx.URL(url)
        h11.Request(method=method, target=target.raw_path, headers=[("Host", target.host), *headers.items()])
        return _read(self.answers.pop(0))


class Application:
    """A real MSAL application, with the code around it that runs in its thread.

    Args:
        make: Makes a sign-in, given its settings.
        call: What is done with the application again and again.
        good: What its requests are answered with, the first one by the discovery document.

    Attributes:
        result: What the first call returned.
    """

    def __init__(self, make: Callable[..., Any], call: Callable[[Any, Any], Any], *good: Answer) -> None:
        self._cache = msal.SerializableTokenCache()
        self._credential = make("app", authority=AUTHORITY, token_cache=self._cache)
        self._wire = Wire()
        self._call = call
        self._good = good[-1]
        self.result = self._run(*good)
        self._held = self._cache.serialize()

    def _run(self, *answers: Answer) -> Any:
        self._wire.answers = list(answers)
        return self._credential._msal._work(lambda app: self._call(self._credential, app), self._wire, set())

    def read(self, answer: Answer) -> Any:
        """What the sign-in makes of an answer."""
        return self._run(answer)

    def recover(self) -> None:
        """Read a good answer, and forget both."""
        try:
            self._run(self._good)
        finally:
            self._cache.deserialize(self._held)


DISCOVERY, DEVICE_CODE, TOKEN = (Answer(200, (), good[0]) for good in (DISCOVERIES, DEVICE_CODES, TOKENS))


def begin(credential: DeviceCodeCredential, app: Any) -> dict[str, Any]:
    return credential._begin(app, [SCOPE])


def act_for_user(_credential: OnBehalfOfCredential, app: Any) -> Grant:
    return take(app, app.acquire_token_on_behalf_of("an-assertion", [SCOPE]), ADVICE, ServiceClock("Entra"))


def renew(credential: DeviceCodeCredential, app: Any) -> Grant:
    if credential._account is None:  # the first time
        grant = take(app, app.acquire_token_by_refresh_token("a-refresh-token", [SCOPE]), ADVICE, ServiceClock("Entra"))
        credential._account = grant.account
        return grant
    return credential._silently(app, [SCOPE], None, force=True)


def read_discovery(answer: Answer) -> Any:
    """As a new application does it."""
    return Application(DeviceCodeCredential, begin, answer, DEVICE_CODE).result


def of_application(make: Callable[[Random], Answer], holds: Callable[[Any], bool], application: Application) -> Parser:
    return Parser(make, application.read, TokenSourceError, holds, application.recover)


def read_grant(answer: Answer) -> Grant:
    """Without MSAL, which catches some of it."""
    KNOWN.set(set())
    empty = SimpleNamespace(token_cache=msal.TokenCache())
    return take(empty, json.loads(_read(answer).text), ADVICE, ServiceClock("Entra"))


# What holds


def is_token(token: AccessToken) -> bool:
    fits = all("!" <= letter <= "~" for letter in token.token)
    return fits and abs(token.expires_on) < 1e12


def is_grant(grant: Grant) -> bool:
    return is_token(grant.token) and grant.is_valid and grant.due <= grant.end


def is_code(flow: Any) -> bool:
    texts = (flow["user_code"], flow["device_code"], flow["verification_uri"])
    shown = all(isinstance(text, str) for text in texts)
    return shown and bool(1 <= flow["interval"] <= 60 and flow["expires_in"] <= 3600)


def is_identifier(identifier: CommunicationIdentifier) -> bool:
    """One that loses nothing on the wire, where an empty raw id is none."""
    if not identifier.raw_id:
        return True
    again = identifier_from_wire(identifier.to_wire())
    return again == identifier and vars(again) == vars(identifier) and hash(again) == hash(identifier)


def raw_id() -> Parser:
    return Parser(raw_id_text, identifier_from_raw_id, InvalidIdentifierError, is_identifier)


def wire() -> Parser:
    return Parser(wire_model, identifier_from_wire, InvalidIdentifierError, is_identifier)


def exchange() -> Parser:
    return Parser(partial(answer_of, EXCHANGES, REFUSALS), read_exchanged, ServiceError, is_token)


def read_assigned(answer: Answer) -> TeamsPhoneAssignment:
    """As the identity client reads it."""
    if not answer.is_success:
        refuse_assignment(answer, GUID, GUID)
    return read_assignment(answer, GUID, GUID)


def is_assignment(assignment: TeamsPhoneAssignment) -> bool:
    texts = (assignment.tenant_id, assignment.object_id, *assignment.client_ids)
    return assignment.principal_type in {"user", "resource_account"} and all(isinstance(text, str) for text in texts)


def assignment() -> Parser:
    return Parser(partial(answer_of, ASSIGNMENTS, REFUSALS), read_assigned, ServiceError, is_assignment)


def jwt() -> Parser:
    return Parser(jwt_text, AccessToken.from_jwt, InvalidTokenError, is_token)


def discovery() -> Parser:
    return Parser(partial(answer_of, DISCOVERIES, OAUTH_REFUSALS), read_discovery, TokenSourceError, is_code)


def device_code() -> Parser:
    application = Application(DeviceCodeCredential, begin, DISCOVERY, DEVICE_CODE)
    return of_application(partial(answer_of, DEVICE_CODES, OAUTH_REFUSALS), is_code, application)


def token() -> Parser:
    make = partial(OnBehalfOfCredential, user_assertion="an-assertion", client_secret="a-secret")
    return of_application(token_answer, is_grant, Application(make, act_for_user, DISCOVERY, TOKEN))


def renewal() -> Parser:
    return of_application(token_answer, is_grant, Application(DeviceCodeCredential, renew, DISCOVERY, TOKEN))


def grant() -> Parser:
    return Parser(token_answer, read_grant, TokenSourceError, is_grant)


PARSERS: dict[str, Callable[[], Parser]] = {
    each.__name__: each
    for each in (exchange, assignment, jwt, discovery, device_code, token, renewal, grant, raw_id, wire)
}


def main() -> int:
    """Fuzz what the command line names."""
    options = argparse.ArgumentParser(prog="python tests/fuzz.py", description=__doc__)
    options.add_argument("parsers", nargs="*", metavar="PARSER", help=f"of {', '.join(PARSERS)}; all if none is given")
    options.add_argument("--mutations", type=int, default=MUTATIONS, help="of each parser (default: %(default)s)")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    if unknown := sorted(set(chosen.parsers) - set(PARSERS)):
        options.error(f"no parser is called {', '.join(unknown)}; there are {', '.join(PARSERS)}")
    good = True
    for name in chosen.parsers or PARSERS:
        found = fuzz(PARSERS[name](), chosen.mutations, chosen.seed)
        sys.stdout.write(f"{name}: {found}\n")
        sys.stdout.flush()
        good = good and not found.problems and median(found.seconds) <= SLOWEST
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
