"""A Microsoft 365 Agents bot: each message that it gets opens a chat thread in Communication Services.

The settings whose names are long are those of the Agents SDK, which proves with them who it is.

    export ACS_CONNECTION_STRING='endpoint=https://<resource>.communication.azure.com/;accesskey=<key>'
    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    export CONNECTIONS__SERVICE_CONNECTION__SETTINGS__CLIENTID='<the id of the bot>'
    export CONNECTIONS__SERVICE_CONNECTION__SETTINGS__CLIENTSECRET='<its secret>'
    export CONNECTIONS__SERVICE_CONNECTION__SETTINGS__TENANTID='<its tenant>'
    python agents_bot.py 3978
"""

import os
import sys
from collections.abc import AsyncGenerator
from functools import partial

import httpx
from aiohttp import web
from microsoft_agents.activity import load_configuration_from_env
from microsoft_agents.authentication.msal import MsalConnectionManager
from microsoft_agents.hosting.aiohttp import CloudAdapter, jwt_authorization_middleware
from microsoft_agents.hosting.core import ActivityHandler, TurnContext

from anyio_acs_credential import BearerAuth, CommunicationIdentityClient, CommunicationTokenCredential

CHAT = web.AppKey("chat", httpx.AsyncClient)


class Bot(ActivityHandler):
    """Answers messages. Whatever it calls the chat service with, it is given."""

    def __init__(self, chat: httpx.AsyncClient) -> None:
        self._chat = chat

    async def on_message_activity(self, turn_context: TurnContext) -> None:
        """Open a thread about what the message says."""
        topic = {"topic": turn_context.activity.text}
        answer = await self._chat.post("/chat/threads?api-version=2024-03-07", json=topic)
        await turn_context.send_activity(f"Let us talk: {answer.raise_for_status().json()['chatThread']['id']}")


async def open_chat(app: web.Application) -> AsyncGenerator[None]:
    """Open the credential once, before the first message, and close it after the last."""
    async with CommunicationIdentityClient.from_connection_string(os.environ["ACS_CONNECTION_STRING"]) as identity:
        fetch_token = partial(identity.get_token, await identity.create_user(), ["chat"])
        async with (
            CommunicationTokenCredential(token_refresher=fetch_token) as credential,
            httpx.AsyncClient(base_url=os.environ["ACS_ENDPOINT"], auth=BearerAuth(credential)) as chat,
        ):
            app[CHAT] = chat
            yield
