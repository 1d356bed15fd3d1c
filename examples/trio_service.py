"""A trio service over TCP: a client sends a topic, and gets the id of the chat thread that was opened for it.

One credential serves all clients, and what goes wrong for one of them stays with that one.

    export ACS_CONNECTION_STRING='endpoint=https://<resource>.communication.azure.com/;accesskey=<key>'
    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    python trio_service.py 8000
"""

import argparse
import os
import signal
from functools import partial

import httpx
import trio

from anyio_acs_credential import BearerAuth, CommunicationIdentityClient, CommunicationTokenCredential, CredentialError

FAILURES = (trio.BrokenResourceError, trio.TooSlowError, ValueError, httpx.HTTPError, CredentialError)


async def answer_client(chat: httpx.AsyncClient, stream: trio.SocketStream) -> None:
    """Open a thread for the topic that the client sends. Its stream is closed by trio."""
    try:
        with trio.fail_after(30):
            topic = (await stream.receive_some(1000)).decode().strip()
            answer = await chat.post("/chat/threads?api-version=2024-03-07", json={"topic": topic})
            await stream.send_all(answer.raise_for_status().json()["chatThread"]["id"].encode())
    except FAILURES as error:
        print(f"a client got no answer: {error!r}", flush=True)


async def serve(chat: httpx.AsyncClient, port: int) -> None:
    """Serve clients until SIGINT or SIGTERM."""
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            listen = partial(trio.serve_tcp, partial(answer_client, chat), port, host="127.0.0.1")
            listeners = await nursery.start(listen)
            print(f"127.0.0.1:{listeners[0].socket.getsockname()[1]}", flush=True)
            await anext(signals)
            nursery.cancel_scope.cancel()


async def main(port: int) -> None:
    """Open the credential once, and hand on what uses it."""
    async with CommunicationIdentityClient.from_connection_string(os.environ["ACS_CONNECTION_STRING"]) as identity:
        fetch_token = partial(identity.get_token, await identity.create_user(), ["chat"])
        async with (
            CommunicationTokenCredential(token_refresher=fetch_token) as credential,
            httpx.AsyncClient(base_url=os.environ["ACS_ENDPOINT"], auth=BearerAuth(credential)) as chat,
        ):
            await serve(chat, port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    trio.run(main, parser.parse_args().port)
