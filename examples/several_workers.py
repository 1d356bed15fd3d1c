"""A FastAPI app of several worker processes that share one token: one of them fetches it, and all have it.

Make the key once, and keep it with the app's other secrets; the store is a file that only the app's user can read.

    export ACS_CONNECTION_STRING='endpoint=https://<resource>.communication.azure.com/;accesskey=<key>'
    export ACS_USER_ID='<the raw id of the bot, which was created once>'
    export FLEET_STORE="$HOME/tokens.db"
    export FLEET_KEY="$(python -c 'from anyio_acs_credential import fleet; print(fleet.new_encryption_key())')"
    python several_workers.py 8000
"""

import argparse
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request

from anyio_acs_credential import CommunicationIdentityClient, CommunicationTokenCredential
from anyio_acs_credential.fleet import SQLiteTokenStore, shared


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncGenerator[dict[str, Any]]:
    """Open the store and the credential in each worker, after it was forked or started."""
    user = os.environ["ACS_USER_ID"]
    async with (
        CommunicationIdentityClient.from_connection_string(os.environ["ACS_CONNECTION_STRING"]) as identity,
        SQLiteTokenStore(os.environ["FLEET_STORE"], encryption_keys=[os.environ["FLEET_KEY"]]) as store,
    ):
        source = shared(partial(identity.get_token, user, ["chat"]), store, key=user)
        async with CommunicationTokenCredential(token_refresher=source) as credential:
            yield {"credential": credential}


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def tell(request: Request) -> dict[str, object]:
    """Which worker has answered, when its token ends, and how many of its tokens another worker has fetched."""
    credential: CommunicationTokenCredential = request.state.credential
    token = await credential.get_token()
    return {"worker": os.getpid(), "expires_on": token.expires_on, "shared": credential.statistics().shared}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--workers", type=int, default=os.environ.get("WEB_CONCURRENCY", "4"))
    arguments = parser.parse_args()
    here = Path(__file__)
    uvicorn.run(f"{here.stem}:app", app_dir=str(here.parent), port=arguments.port, workers=arguments.workers)
