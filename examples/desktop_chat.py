"""A desktop program: a person signs in with this machine's browser, and opens chat threads in the own name.

The browser brings the answer to a port on 127.0.0.1, which is open for the time of the sign-in.

    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    export ENTRA_AUTHORITY='https://login.microsoftonline.com/<tenant id>/v2.0'
    export ENTRA_CLIENT_ID='<the id of a desktop application with the redirect URI http://localhost>'
    python desktop_chat.py 'Lunch' 'Friday'
"""

import argparse
import os
import sys
import webbrowser
from collections.abc import Callable

import anyio
import httpx

from anyio_acs_credential import DEFAULT_SCOPE, BearerAuth, CommunicationTokenCredential, TokenSourceError
from anyio_acs_credential.entra import InteractiveBrowserCredential

API = {"api-version": "2024-03-07"}


async def open_threads(person: InteractiveBrowserCredential, topics: tuple[str, ...]) -> None:
    """Open a thread for each topic, as the person who has signed in."""
    endpoint = os.environ["ACS_ENDPOINT"]
    async with (
        CommunicationTokenCredential(resource_endpoint=endpoint, token_credential=person) as credential,
        httpx.AsyncClient(base_url=endpoint, auth=BearerAuth(credential)) as chat,
    ):
        for topic in topics:
            answer = await chat.post("/chat/threads", params=API, json={"topic": topic})
            answer.raise_for_status()
            print(f"{topic}: {answer.json()['chatThread']['id']}")


async def main(*topics: str, open_browser: Callable[[str], object] = webbrowser.open) -> None:
    """Have the person sign in, and open the threads."""
    async with InteractiveBrowserCredential(
        os.environ["ENTRA_CLIENT_ID"], authority=os.environ["ENTRA_AUTHORITY"], open_browser=open_browser
    ) as person:
        print("Sign in with the browser that opens now.", flush=True)
        try:
            await person.sign_in(DEFAULT_SCOPE)
        except TokenSourceError as error:
            sys.exit(f"Signing in did not work: {error}")
        await open_threads(person, topics)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("topics", nargs="+")
    anyio.run(main, *parser.parse_args().topics)
