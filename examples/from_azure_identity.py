"""From azure-identity's credentials to this package's: both are taken, and these five lines change.

Before, with a credential that blocks, and so is called in worker threads:

    from azure.identity import DeviceCodeCredential
    person = DeviceCodeCredential(client_id, **where, disable_automatic_authentication=True)
    with person:
        await to_thread.run_sync(lambda: person.authenticate(scopes=[SCOPE]))
        await show_token(person)

After, with one that never blocks, and whose sign-in can be cancelled at once:

    from anyio_acs_credential.entra import DeviceCodeCredential
    person = DeviceCodeCredential(client_id, **where)
    async with person:
        await person.sign_in(SCOPE)
        await show_token(person)

To run the one or the other:

    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    export AZURE_AUTHORITY_HOST='https://login.microsoftonline.com'
    export AZURE_CLIENT_ID='<the id of an application that allows public client flows>'
    export AZURE_TENANT_ID='<tenant id>'
    python from_azure_identity.py before
    python from_azure_identity.py after
"""

import os
import sys
from typing import Any

import anyio
from anyio import to_thread

from anyio_acs_credential import CommunicationTokenCredential

SCOPE = "https://auth.msft.communication.azure.com/TeamsExtension.ManageCalls"


async def show_token(person: Any) -> None:
    """Exchange the person's Entra token for an access token."""
    async with CommunicationTokenCredential(
        resource_endpoint=os.environ["ACS_ENDPOINT"], token_credential=person, scopes=(SCOPE,)
    ) as credential:
        token = await credential.get_token()
        print(f"{credential.identity} has {token}")


async def before(client_id: str, where: Any) -> None:
    """Sign in with azure-identity."""
    from azure.identity import DeviceCodeCredential

    person = DeviceCodeCredential(client_id, **where, disable_automatic_authentication=True)
    with person:
        await to_thread.run_sync(lambda: person.authenticate(scopes=[SCOPE]))
        await show_token(person)


async def after(client_id: str, where: Any) -> None:
    """Sign in with this package."""
    from anyio_acs_credential.entra import DeviceCodeCredential

    person = DeviceCodeCredential(client_id, **where)
    async with person:
        await person.sign_in(SCOPE)
        await show_token(person)


async def main(form: str) -> None:
    """Sign in with the one or the other."""
    where = {
        "tenant_id": os.environ["AZURE_TENANT_ID"],
        "authority": os.environ["AZURE_AUTHORITY_HOST"],
        "disable_instance_discovery": True,  # whoever set it is trusted: Microsoft need not know the host
    }
    await {"before": before, "after": after}[form](os.environ["AZURE_CLIENT_ID"], where)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
