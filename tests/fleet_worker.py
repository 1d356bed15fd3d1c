"""One process of a fleet: `fleet_worker.py BACKEND STORE URL LEASE`, which does as it is told.

At each line of its input it has its token refreshed, or just asks for it where the line says "get", and prints what it
has then, or what it raised. It ends with its input. The key is in FLEET_KEY.
"""

from __future__ import annotations

import json
import os
import sys
from hashlib import sha256

import anyio
import httpx
from anyio import to_thread

from anyio_acs_credential import CommunicationTokenCredential
from anyio_acs_credential.fleet import SQLiteTokenStore, shared


async def main(*arguments: str) -> None:
    path, url, lease = arguments
    async with httpx.AsyncClient(headers={"X-Pid": str(os.getpid())}, timeout=60) as http:

        async def fetch_token() -> str:
            answer = await http.get(url)
            token: str = answer.raise_for_status().json()["token"]
            return token

        async with SQLiteTokenStore(path, encryption_keys=[os.environ["FLEET_KEY"]]) as store:
            source = shared(fetch_token, store, key="ana", lease=float(lease))
            async with CommunicationTokenCredential(token_refresher=source) as credential:
                while line := await to_thread.run_sync(sys.stdin.readline):
                    try:
                        token = await (credential.get_token() if line == "get\n" else credential.refresh())
                    except Exception as error:  # noqa: BLE001 - whoever reads it judges
                        told = {"error": f"{type(error).__name__}: {error.__cause__ or error}"}
                    else:
                        told = {"token": sha256(token.token.encode()).hexdigest()}
                    print(json.dumps({**told, "shared": credential.statistics().shared}), flush=True)  # noqa: T201


if __name__ == "__main__":
    anyio.run(main, *sys.argv[2:], backend=sys.argv[1])
