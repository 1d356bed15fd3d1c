"""A command that remembers who signed in: its tokens are kept in the system's keyring, and nowhere else.

They are as good as the person, for weeks: where the system cannot encrypt them, this says why, and forgets them.

    export ACS_ENDPOINT='https://<resource>.communication.azure.com'
    export ENTRA_AUTHORITY='https://login.microsoftonline.com/<tenant id>/v2.0'
    export ENTRA_CLIENT_ID='<the id of an application that allows public client flows>'
    python remembered_sign_in.py
"""

import os
import sys
from pathlib import Path

import anyio
import msal_extensions
from anyio import to_thread

from anyio_acs_credential import DEFAULT_SCOPE, CommunicationTokenCredential, SignInRequiredError
from anyio_acs_credential.entra import DeviceCodeCredential

FIX = {
    "linux": "install python3-gi, gir1.2-secret-1 and gnome-keyring, and start this from a desktop session",
    "darwin": "unlock the login keychain",
    "win32": "start this as a user with a profile of its own",
}


def open_cache() -> msal_extensions.PersistedTokenCache | None:
    """The cache in the system's keyring, which may ask the person to unlock it; None where there is no keyring."""
    location = Path.home() / ".acs-example" / "tokens"
    try:
        persistence = msal_extensions.build_encrypted_persistence(str(location))
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        print(f"You will have to sign in again next time: there is no keyring ({reason}).", file=sys.stderr)
        print(f"To change that, {FIX.get(sys.platform, 'use another system')}.", file=sys.stderr, flush=True)
        return None
    return msal_extensions.PersistedTokenCache(persistence)


async def main() -> None:
    """Sign in, if nobody is remembered, and get an access token."""
    cache = await to_thread.run_sync(open_cache)
    async with DeviceCodeCredential(
        os.environ["ENTRA_CLIENT_ID"], authority=os.environ["ENTRA_AUTHORITY"], token_cache=cache
    ) as person:
        try:
            await person.get_token(DEFAULT_SCOPE)
        except SignInRequiredError:
            await person.sign_in(DEFAULT_SCOPE)
        endpoint = os.environ["ACS_ENDPOINT"]
        async with CommunicationTokenCredential(resource_endpoint=endpoint, token_credential=person) as credential:
            token = await credential.get_token()
            print(f"{credential.raw_id} has {token}")


if __name__ == "__main__":
    anyio.run(main)
