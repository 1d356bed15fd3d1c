"""From azure-identity's credentials to this package's: both are taken, and these five lines change.

The one blocks, and so is called in worker threads. The other never does, and its sign-in can be cancelled at once.
    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    export AZURE_AUTHORITY_HOST='https://login.microsoftonline.com'
    export AZURE_CLIENT_ID='<the id of an application that allows public client flows>'
    export AZURE_TENANT_ID='<tenant id>'
    python from_azure_identity.py before  # and then: after
"""

import argparse
import os
from typing import Any

from anyio import run, to_thread

from anyio_acs_credential import DEFAULT_SCOPE, CommunicationTokenCredential


async def show_token(person: Any) -> None:
    """Exchange the person's Entra token for an access token."""
    endpoint = os.environ["ACS_ENDPOINT"]
    async with CommunicationTokenCredential(resource_endpoint=endpoint, token_credential=person) as credential:
        token = await credential.get_token()
        print(f"{credential.raw_id} has {token}")


async def before(client_id: str, where: Any) -> None:
    """Sign in with azure-identity."""
    from azure.identity import DeviceCodeCredential

    person = DeviceCodeCredential(client_id, **where, disable_automatic_authentication=True)
    with person:
        await to_thread.run_sync(lambda: person.authenticate(scopes=[DEFAULT_SCOPE]))
        await show_token(person)


async def after(client_id: str, where: Any) -> None:
    """Sign in with this package."""
    from anyio_acs_credential.entra import DeviceCodeCredential

    person = DeviceCodeCredential(client_id, **where)
    async with person:
        await person.sign_in(DEFAULT_SCOPE)
        await show_token(person)


async def main(form: str) -> None:
    """Sign in with the one or the other."""
    where = {"tenant_id": os.environ["AZURE_TENANT_ID"], "authority": os.environ["AZURE_AUTHORITY_HOST"]}
    client_id, trusted = (
        os.environ["AZURE_CLIENT_ID"],
        {"disable_instance_discovery": True},
    )  # who names the host knows it
    await {"before": before, "after": after}[form](client_id, where | trusted)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("form", choices=["before", "after"])
    run(main, parser.parse_args().form)
