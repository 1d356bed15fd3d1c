"""A Starlette app that hands each token on to who listens at its websocket, and knows the key.

A call in another process so outlives its tokens. In production, it is served over TLS.
    export ACS_CONNECTION_STRING='endpoint=https://<resource>.communication.azure.com/;accesskey=<key>'
    export LISTENER_KEY='<a long random text, which the listeners know>'
    python websocket_updates.py 8000
"""

import argparse
import hmac
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from anyio_acs_credential import CommunicationIdentityClient, CommunicationTokenCredential


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncGenerator[dict[str, Any]]:
    """Open the credential before the first listener comes, and close it after the last has gone."""
    async with CommunicationIdentityClient.from_connection_string(os.environ["ACS_CONNECTION_STRING"]) as identity:
        fetch_token = partial(identity.get_token, await identity.create_user(), ["voip"])
        async with CommunicationTokenCredential(token_refresher=fetch_token) as credential:
            yield {"credential": credential}


async def send_tokens(websocket: WebSocket) -> None:
    """Send the token of the moment, and then each that replaces it, until the listener goes."""
    key = f"Bearer {os.environ['LISTENER_KEY']}".encode()
    if not hmac.compare_digest(websocket.headers.get("authorization", "").encode(), key):
        await websocket.close(1008)  # before it is accepted: the answer is a 403
        return
    await websocket.accept()
    async with anyio.create_task_group() as group:
        group.start_soon(send_each, websocket)
        while (await websocket.receive())["type"] != "websocket.disconnect":
            pass  # listeners have nothing to say
        group.cancel_scope.cancel()


async def send_each(websocket: WebSocket) -> None:
    """Send the tokens, one after the other."""
    with suppress(WebSocketDisconnect):
        async for token in websocket.state.credential.updates():
            await websocket.send_json({"token": token.token, "expires_on": token.expires_on})


app = Starlette(routes=[WebSocketRoute("/tokens", send_tokens)], lifespan=lifespan)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    uvicorn.run(app, port=parser.parse_args().port)
