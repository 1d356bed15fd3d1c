"""A Microsoft 365 Agents bot, which opens a chat thread in Communication Services for each message that it gets.

Who it is to its channel is for the Agents SDK: CONNECTIONS__SERVICE_CONNECTION__SETTINGS__CLIENTID, ..._CLIENTSECRET,
..._TENANTID. With ..._ANONYMOUS_ALLOWED=true in place of them, any program on this machine is its channel.

    export ACS_CONNECTION_STRING='endpoint=https://<resource>.communication.azure.com/;accesskey=<key>'
    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    python agents_bot.py 3978
"""

import argparse
import os
from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

import httpx
from aiohttp import web
from microsoft_agents.activity import TurnContextProtocol, load_configuration_from_env
from microsoft_agents.authentication.msal import MsalConnectionManager
from microsoft_agents.hosting.aiohttp import CloudAdapter, jwt_authorization_middleware
from microsoft_agents.hosting.core import ActivityHandler

from anyio_acs_credential import BearerAuth, CommunicationIdentityClient, CommunicationTokenCredential


class Bot(ActivityHandler):
    """Opens a thread for each message. What has to be closed is opened in its lifespan."""

    async def lifespan(self, _app: web.Application) -> AsyncGenerator[None]:
        """Open the credential once, before the first message, and close it after the last."""
        async with CommunicationIdentityClient.from_connection_string(os.environ["ACS_CONNECTION_STRING"]) as identity:
            fetch_token = partial(identity.get_token, await identity.create_user(), ["chat"])
            async with (
                CommunicationTokenCredential(token_refresher=fetch_token) as credential,
                httpx.AsyncClient(base_url=os.environ["ACS_ENDPOINT"], auth=BearerAuth(credential)) as self.chat,
            ):
                yield  # noqa: ASYNC119 - aiohttp makes a context manager of it

    async def on_message_activity(self, turn_context: TurnContextProtocol[Any]) -> None:
        """Open a thread whose topic is the message, and answer with its id."""
        topic = {"topic": turn_context.activity.text}
        answer = await self.chat.post("/chat/threads?api-version=2024-03-07", json=topic)
        await turn_context.send_activity(f"Let us talk: {answer.raise_for_status().json()['chatThread']['id']}")


def main(port: int) -> None:
    """Serve the bot."""
    bot, app = Bot(), web.Application(middlewares=[jwt_authorization_middleware])
    app.cleanup_ctx.append(bot.lifespan)
    connections = MsalConnectionManager(**load_configuration_from_env(os.environ))
    app["agent_configuration"] = connections.get_default_connection_configuration()
    adapter: Any = CloudAdapter(connection_manager=connections)  # its types say that it may answer None
    app.router.add_post("/api/messages", partial(adapter.process, agent=bot))
    web.run_app(app, host="127.0.0.1", port=port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    main(parser.parse_args().port)
