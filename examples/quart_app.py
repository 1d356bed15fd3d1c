"""A Quart app whose handlers share one credential, which is open for as long as the app serves.

Any ASGI server runs it, on asyncio: Quart does not run on trio.

    export ACS_CONNECTION_STRING='endpoint=https://<resource>.communication.azure.com/;accesskey=<key>'
    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    python quart_app.py 8000
"""

import argparse
import os
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import httpx
import uvicorn
from quart import Quart, current_app

from anyio_acs_credential import (
    BearerAuth,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    TokenRefreshError,
)

app = Quart(__name__)


@app.while_serving
async def lifespan() -> AsyncGenerator[None]:
    """Open the credential before the first request, and close it after the last."""
    async with CommunicationIdentityClient.from_connection_string(os.environ["ACS_CONNECTION_STRING"]) as identity:
        fetch_token = partial(identity.get_token, await identity.create_user(), ["chat"])
        async with (
            CommunicationTokenCredential(token_refresher=fetch_token) as credential,
            httpx.AsyncClient(base_url=os.environ["ACS_ENDPOINT"], auth=BearerAuth(credential)) as chat,
        ):
            app.extensions["chat"] = chat
            yield  # noqa: ASYNC119 - Quart goes on with it in the same task, to its end


@app.post("/threads/<topic>")
async def open_thread(topic: str) -> tuple[dict[str, Any], int]:
    """Open a chat thread."""
    chat: httpx.AsyncClient = current_app.extensions["chat"]
    answer = await chat.post("/chat/threads?api-version=2024-03-07", json={"topic": topic})
    return answer.raise_for_status().json()["chatThread"], 201


@app.errorhandler(TokenRefreshError)
async def no_token(_error: TokenRefreshError) -> tuple[dict[str, str], int]:
    """Without a valid token, the client is told to come again."""
    return {"detail": "Try again later."}, 503


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    uvicorn.run(app, port=parser.parse_args().port)
