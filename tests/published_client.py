"""The published JavaScript identity client, unchanged, against the emulator.

`nox -s wire` installs it and runs this. What the client says has come of its calls is compared with what the emulator
knows: nothing is believed of either alone.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import jwt

from anyio_acs_credential import BearerAuth, CommunicationTokenCredential, identifier_from_raw_id
from anyio_acs_credential.emulator import Emulator, open_emulator

JAVASCRIPT = Path(__file__).with_suffix(".mjs")
TEAMS_API = "https://auth.msft.communication.azure.com"
CHAT = "/chat/threads?api-version=2024-03-07"
LIVES = {"both": 3600, "issued": 5400, "newer": 86400}  # as it was asked to, in seconds
ACCEPTED = {"both": 401, "issued": 401, "newer": 403, "teams": 200}  # two were revoked; one is not for chat
REFUSALS = {"deleted": [404, "IdentityNotFound"], "foreign": [400, "ValidationError"], "long": [400, "InvalidRequest"]}
CALLS = [
    ("POST", "identities", 201),
    ("POST", "identities", 201),
    ("POST", ":issueAccessToken", 200),
    ("POST", ":revokeAccessTokens", 204),
    ("POST", ":issueAccessToken", 200),
    ("DELETE", "<alone>", 204),
    ("POST", ":issueAccessToken", 404),
    ("POST", ":exchangeAccessToken", 200),
    ("POST", ":exchangeAccessToken", 400),
    ("POST", ":issueAccessToken", 400),
]


async def client_says(emulator: Emulator, folder: str) -> dict[str, Any]:
    """What the client reports of itself, run by node, with the emulator's certificate authority and nothing else."""
    teams_user = {
        "teamsUserAadToken": emulator.issue_entra_token(
            f"{TEAMS_API}/Teams.ManageCalls", f"{TEAMS_API}/Teams.ManageChats", user="ada"
        ),
        "clientId": emulator.client_id,
        "userObjectId": emulator.add_user("ada"),
    }
    asked = {"connectionString": emulator.connection_string, "teamsUser": teams_user}
    done = await anyio.run_process(
        ["node", JAVASCRIPT, folder],
        input=json.dumps(asked).encode(),
        env={"PATH": os.environ["PATH"], "NODE_EXTRA_CA_CERTS": emulator.ca_file},
        stderr=None,
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


async def chat_says(emulator: Emulator, token: str) -> int:
    """The status with which the emulator's chat meets a token."""
    auth = BearerAuth(CommunicationTokenCredential(token))
    async with httpx.AsyncClient(verify=emulator.ssl_context, auth=auth) as client:
        return (await client.get(emulator.endpoint + CHAT)).status_code


async def main(folder: str) -> None:
    """Run the client, and compare.

    Raises:
        AssertionError: when the two differ.
    """
    async with open_emulator() as emulator:
        said = await client_says(emulator, folder)
        alone = said["users"][0]
        calls = [
            (each.method, each.path.rpartition("/")[2].replace(alone, "<alone>"), each.status)
            for each in emulator.requests
        ]
        assert calls == CALLS
        assert said["refusals"] == REFUSALS
        assert {identifier_from_raw_id(user).kind for user in said["users"]} == {"communication_user"}
        for name, token in said["tokens"].items():
            claims = jwt.decode(token["token"], options={"verify_signature": False})
            assert claims["exp"] - claims["iat"] == LIVES.get(name, claims["exp"] - claims["iat"])
            assert int(datetime.fromisoformat(token["expires_on"]).timestamp()) == claims["exp"]
            assert await chat_says(emulator, token["token"]) == ACCEPTED[name]
    print(f"{said['package']} {said['version']} works against the emulator unchanged")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
