"""A Flask app whose handlers, each in a thread of the server's, share one credential.

The credential lives in an event loop in a thread of its own. The server is Flask's own, for development.

    export ACS_CONNECTION_STRING='endpoint=https://<resource>.communication.azure.com/;accesskey=<key>'
    python flask_app.py 8000
"""

import argparse
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import httpx
from anyio.from_thread import start_blocking_portal
from flask import Flask
from werkzeug.serving import ThreadedWSGIServer

from anyio_acs_credential import CommunicationIdentityClient, CommunicationTokenCredential, parse_connection_string


@asynccontextmanager
async def open_credential(connection_string: str) -> AsyncGenerator[CommunicationTokenCredential]:
    """Make a user, and keep a token for it. All that is async is here."""
    async with CommunicationIdentityClient.from_connection_string(connection_string) as identity:
        fetch_token = partial(identity.get_token, await identity.create_user(), ["chat"])
        async with CommunicationTokenCredential(token_refresher=fetch_token) as credential:
            yield credential


def create_app(credential: CommunicationTokenCredential, chat: httpx.Client) -> Flask:
    """Make the app. It is given its credential, and neither makes nor closes it."""
    app = Flask(__name__)

    @app.post("/threads/<topic>")
    def open_thread(topic: str) -> tuple[dict[str, str], int]:
        bearer = {"Authorization": f"Bearer {credential.get_token_from_thread(timeout=10).token}"}
        answer = chat.post("/chat/threads?api-version=2024-03-07", headers=bearer, json={"topic": topic})
        return answer.raise_for_status().json()["chatThread"], 201

    return app


def main(connection_string: str, port: int) -> None:
    """Open the credential once, and serve until Ctrl-C."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(open_credential(connection_string)) as credential,
        httpx.Client(base_url=parse_connection_string(connection_string).endpoint) as chat,
        ThreadedWSGIServer("127.0.0.1", port, create_app(credential, chat)) as server,
    ):
        server.daemon_threads = False  # what has begun is answered before the credential closes
        print(f"http://127.0.0.1:{server.port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    main(os.environ["ACS_CONNECTION_STRING"], parser.parse_args().port)
