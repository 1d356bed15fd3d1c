"""Run a program against the emulator: its environment names a resource, a user and an Entra tenant, and no real secret.

It needs the extra [emulator], which ends with the program. Ctrl-C is the program's, as it is without this.

    python with_emulator.py --token-lifetime 4 long_session.py 10
"""

import argparse
import os
import signal
import sys

import anyio

from anyio_acs_credential import CommunicationIdentityClient
from anyio_acs_credential.emulator import Emulator, open_emulator


async def environment(emulator: Emulator) -> dict[str, str]:
    """What a program needs to know of the emulator, under the names that the examples read."""
    os.environ["SSL_CERT_FILE"] = emulator.ca_file
    async with CommunicationIdentityClient.from_connection_string(emulator.connection_string) as identity:
        user, token = await identity.create_user_and_token(["chat", "voip"])
    return {
        **os.environ,
        "ACS_CONNECTION_STRING": emulator.connection_string,
        "ACS_ENDPOINT": emulator.endpoint,
        "ACS_USER_ID": user.raw_id,
        "ACS_TOKEN": token.token,
        "ENTRA_AUTHORITY": f"{emulator.authority}/v2.0",
        "ENTRA_CLIENT_ID": emulator.client_id,
        "ENTRA_CLIENT_SECRET": emulator.client_secret,
        "AZURE_AUTHORITY_HOST": emulator.endpoint,
        "AZURE_CLIENT_ID": emulator.client_id,
        "AZURE_TENANT_ID": emulator.tenant_id,
        "REQUESTS_CA_BUNDLE": emulator.ca_file,  # as SSL_CERT_FILE, for azure-identity
    }


async def main(lifetime: int, command: list[str]) -> int:
    """Run the program with this Python, and give its exit status."""
    async with open_emulator(token_lifetime=lifetime) as emulator:
        run = [sys.executable, *command]
        process = await anyio.run_process(
            run, stdin=None, stdout=None, stderr=None, check=False, env=await environment(emulator)
        )
    return process.returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--token-lifetime", type=int, default=3600, help="seconds that each access token lives")
    parser.add_argument("program", help="a file; or, after --, what else Python takes, such as: -- -m jupyter lab")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    signal.signal(signal.SIGINT, lambda *_: None)  # ignored, it would be ignored in the program, too
    sys.exit(anyio.run(main, given.token_lifetime, [given.program, *given.arguments]))
