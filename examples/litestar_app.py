"""A Litestar app whose handlers share one credential: its lifespan opens it once, and its state hands on the client.

Any ASGI server runs it.

    export ACS_CONNECTION_STRING='endpoint=https://<resource>.communication.azure.com/;accesskey=<key>'
    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    python litestar_app.py 8000
"""

import argparse
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import uvicorn
from litestar import Litestar, Request, Response, post
from litestar.datastructures import State
from litestar.params import FromPath

from anyio_acs_credential import (
    BearerAuth,
    CommunicationIdentityClient,
    CommunicationTokenCredential,
    TokenRefreshError,
)


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncGenerator[None]:
    """Open the credential before the first request, and close it after the last."""
    async with CommunicationIdentityClient.from_connection_string(os.environ["ACS_CONNECTION_STRING"]) as identity:
        fetch_token = partial(identity.get_token, await identity.create_user(), ["chat"])
        async with (
            CommunicationTokenCredential(token_refresher=fetch_token) as credential,
            httpx.AsyncClient(base_url=os.environ["ACS_ENDPOINT"], auth=BearerAuth(credential)) as app.state.chat,
        ):
            yield


def no_token(_request: Request[Any, Any, Any], _error: TokenRefreshError) -> Response[dict[str, str]]:
    """Without a valid token, the client is told to come again."""
    return Response({"detail": "Try again later."}, status_code=503)


@post("/threads/{topic:str}")
async def open_thread(topic: FromPath[str], state: State) -> Any:
    """Open a chat thread, with the client that the lifespan has opened."""
    answer = await state.chat.post("/chat/threads?api-version=2024-03-07", json={"topic": topic})
    return answer.raise_for_status().json()["chatThread"]


handlers: Any = {TokenRefreshError: no_token}
app = Litestar([open_thread], lifespan=[lifespan], exception_handlers=handlers)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    uvicorn.run(app, port=parser.parse_args().port)
