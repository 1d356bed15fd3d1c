"""What the published JavaScript credential and identifiers do: the facts under the comparison in docs.

`nox -s wire` installs them and runs this. Where a fact no longer holds, the page is to be corrected, and then this.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

JAVASCRIPT = Path(__file__).with_suffix(".mjs")
FACTS = {
    "fetches_once_for_all": True,
    "is_proactive_unless_told_otherwise": False,
    "gives_a_valid_token_while_the_source_fails": True,
    "goes_on_for_others_when_one_caller_aborts": False,
    "refuses_an_expired_token": False,
    "refuses_after_its_end": True,
    "waits_for_the_end_of_a_token_of_sixty_days": False,
    "survives_a_failed_refresh_in_the_background": False,
    "has_identifiers_equal_by_value": False,
    "keeps_the_key_out_of_errors": False,
    "names_what_a_wire_model_lacks": True,
}


def main(folder: str) -> int:
    """Run them, print what differs, and return the exit status."""
    command = ["node", "--no-warnings", str(JAVASCRIPT), folder]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    changed = {name: value for name, value in found.items() if FACTS.get(name) is not value}
    print(f"{len(found)} facts about the published credential; changed: {changed or 'none'}")
    return 1 if changed or found.keys() != FACTS.keys() else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
