"""What the published Python and JavaScript packages write and read, kept for the tests that have neither.

`nox -s wire` installs both and runs this; `tests/fixtures/identifiers.json` is what comes of it. The packages write
what they make of raw ids, and read what this one writes.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from anyio_acs_credential import (
    CommunicationIdentifier,
    MicrosoftTeamsAppIdentifier,
    MicrosoftTeamsUserIdentifier,
    PhoneNumberIdentifier,
    TeamsExtensionUserIdentifier,
    identifier_from_raw_id,
)

HERE = Path(__file__).parent
FIXTURES = HERE / "fixtures" / "identifiers.json"
JAVASCRIPT = Path(__file__).with_suffix(".mjs")
PYTHON = "azure-communication-callautomation"

RAW_IDS: list[str] = [
    *(case["raw_id"] for case in json.loads((HERE / "vectors.json").read_text("utf-8"))["raw_ids"]),
    "8:orgid:45ab2481-1c1c-4005-be24-0ffb879b1130",
    "8:dod:45ab2481-1c1c-4005-be24-0ffb879b1130",
    "28:orgid:01234567-89ab-cdef-0123-456789abcdef",
    "28:gcch:01234567-89ab-cdef-0123-456789abcdef",
    "8:acs:bbbcbc1e-9f06-482a-b5d8-20e3f26ef0cd_ext_cdc5aeea-15c5-4db6-b079-fcadd2505dc2_45ab2481",
]

# What has another raw id than the one that its attributes make, or a cloud that nobody knows yet.
GIVEN: list[CommunicationIdentifier] = [
    PhoneNumberIdentifier("otherFormat", raw_id="4:207ffef6-9444-41fb-92ab-20eacaae2768"),
    MicrosoftTeamsUserIdentifier("legacy", is_anonymous=True, raw_id="8:orgid:legacyFormat"),
    MicrosoftTeamsUserIdentifier("a", is_anonymous=True, cloud="dod"),
    MicrosoftTeamsAppIdentifier("a", raw_id="28:gcch:a"),
    MicrosoftTeamsAppIdentifier("a", cloud="sovereign"),
    TeamsExtensionUserIdentifier("u", "t", "r", cloud="dod", raw_id="8:acs:r_t_u"),
]


def ours() -> list[CommunicationIdentifier]:
    """The identifiers whose wire models the packages read."""
    return [*map(identifier_from_raw_id, RAW_IDS), *GIVEN]


def _told(identifier: Any) -> dict[str, Any]:
    attributes = dict(identifier.properties)
    return {"kind": identifier.kind.value, "raw_id": identifier.raw_id, "attributes": attributes}


def _python() -> dict[str, Any]:
    from_raw_id = import_module("azure.communication.callautomation._shared.models").identifier_from_raw_id
    utils = import_module("azure.communication.callautomation._utils")
    model = import_module("azure.communication.callautomation._generated.models").CommunicationIdentifierModel
    written = list(map(from_raw_id, RAW_IDS))
    return {
        "package": PYTHON,
        "version": version(PYTHON),
        "writes": [{**_told(each), "wire": utils.serialize_identifier(each).serialize()} for each in written],
        "reads": [
            {**_told(utils.deserialize_identifier(model.deserialize(wire))), "wire": wire}
            for wire in (each.to_wire() for each in ours())
        ],
    }


def _javascript(folder: str) -> dict[str, Any]:
    asked = json.dumps({"raw_ids": RAW_IDS, "models": [each.to_wire() for each in ours()]})
    done = subprocess.run(["node", JAVASCRIPT, folder], input=asked, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _as_text(found: list[dict[str, Any]]) -> str:
    """JSON with one case a line, so that a change of one shows as one."""
    versions = json.dumps({each["package"]: each["version"] for each in found})
    cases = [
        json.dumps({"package": each["package"], "does": does, **case}, sort_keys=True)
        for each in found
        for does in ("writes", "reads")
        for case in each[does]
    ]
    return f'{{"versions": {versions}, "cases": [\n' + ",\n".join(cases) + "\n]}\n"


def main(folder: str) -> None:
    """Write the fixtures anew."""
    text = _as_text([_python(), _javascript(folder)])
    changed = not FIXTURES.exists() or FIXTURES.read_text("utf-8") != text
    FIXTURES.write_text(text, "utf-8")
    print(f"{FIXTURES.name}: {'written anew, look at the changes and commit them' if changed else 'as it was'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
