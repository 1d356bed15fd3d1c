"""Open a chat thread with a token that you already have: a job that ends long before the token does.

The Azure portal makes such a token: on the resource's page, "Identities & User Access Tokens".

    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    export ACS_TOKEN='<the token>'
    python static_token.py 'Lunch'
"""

import argparse
import os

import anyio
import httpx

from anyio_acs_credential import BearerAuth, CommunicationTokenCredential

API = {"api-version": "2024-03-07"}


async def main(topic: str) -> None:
    """Open the thread."""
    credential = CommunicationTokenCredential(os.environ["ACS_TOKEN"])  # a fixed token needs no `async with`
    async with httpx.AsyncClient(base_url=os.environ["ACS_ENDPOINT"], auth=BearerAuth(credential)) as chat:
        answer = await chat.post("/chat/threads", params=API, json={"topic": topic})
        answer.raise_for_status()
        print(f"{credential.raw_id} opened {answer.json()['chatThread']['id']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("topic")
    anyio.run(main, parser.parse_args().topic)
