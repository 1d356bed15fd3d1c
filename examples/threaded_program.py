"""A threaded program: its threads make blocking requests, and share one credential.

The event loop does nothing but keep the token alive. All else stays as blocking as it was.

    export ACS_CONNECTION_STRING='endpoint=https://<resource>.communication.azure.com/;accesskey=<key>'
    python threaded_program.py 'Lunch' 'Friday'
"""

import argparse
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import anyio
import httpx
from anyio import to_thread

from anyio_acs_credential import CommunicationIdentityClient, CommunicationTokenCredential, parse_connection_string

API = {"api-version": "2024-03-07"}


def open_thread(credential: CommunicationTokenCredential, chat: httpx.Client, topic: str) -> str:
    """Open a chat thread. Each call is in a thread of the pool, which may wait there for a token."""
    token = credential.get_token_from_thread(timeout=30).token
    headers = {"Authorization": f"Bearer {token}"}
    answer = chat.post("/chat/threads", params=API, headers=headers, json={"topic": topic})
    thread_id: str = answer.raise_for_status().json()["chatThread"]["id"]
    return thread_id


def work(credential: CommunicationTokenCredential, endpoint: str, topics: tuple[str, ...]) -> None:
    """Open the threads, all at once. It is given its credential, and neither makes nor closes it."""
    with httpx.Client(base_url=endpoint) as chat, ThreadPoolExecutor() as pool:
        for topic, thread_id in zip(topics, pool.map(partial(open_thread, credential, chat), topics), strict=True):
            print(f"{topic}: {thread_id}")


async def main(*topics: str) -> None:
    """Open the credential once, and keep it open while the threads work."""
    connection_string = os.environ["ACS_CONNECTION_STRING"]
    endpoint = parse_connection_string(connection_string).endpoint
    async with CommunicationIdentityClient.from_connection_string(connection_string) as identity:
        user = await identity.create_user()
        fetch_token = partial(identity.get_token, user, ["chat"])
        async with CommunicationTokenCredential(token_refresher=fetch_token) as credential:
            await to_thread.run_sync(work, credential, endpoint, topics)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("topics", nargs="+")
    anyio.run(main, *parser.parse_args().topics)
