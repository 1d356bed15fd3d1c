"""A FastAPI app whose handlers share one credential: the lifespan opens it once, and each request brings its client.

Any ASGI server runs it.

    export ACS_CONNECTION_STRING='endpoint=https://<resource>.communication.azure.com/;accesskey=<key>'
    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    python fastapi_app.py 8000
"""

import argparse
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI, HTTPException, Request

from anyio_acs_credential import (
    BearerAuth,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    TokenRefreshError,
)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncGenerator[dict[str, Any]]:
    """Open the credential before the first request, and close it after the last."""
    async with CommunicationIdentityClient.from_connection_string(os.environ["ACS_CONNECTION_STRING"]) as identity:
        fetch_token = partial(identity.get_token, await identity.create_user(), ["chat"])
        async with (
            CommunicationTokenCredential(token_refresher=fetch_token) as credential,
            httpx.AsyncClient(base_url=os.environ["ACS_ENDPOINT"], auth=BearerAuth(credential)) as chat,
        ):
            yield {"chat": chat}


app = FastAPI(lifespan=lifespan)


@app.post("/threads/{topic}", status_code=201)
async def open_thread(topic: str, request: Request) -> Any:
    """Open a chat thread. Without a valid token, the client is told to come again."""
    try:
        answer = await request.state.chat.post("/chat/threads?api-version=2024-03-07", json={"topic": topic})
    except TokenRefreshError as error:
        raise HTTPException(503, "Try again later.") from error
    return answer.raise_for_status().json()["chatThread"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    uvicorn.run(app, port=parser.parse_args().port)
