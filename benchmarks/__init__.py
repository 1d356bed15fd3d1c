"""Speed, memory and import time: each figure beside its floor, and beside other libraries where they do the same."""

import logging

for _name in ("anyio_acs_credential", "azure"):
    # Sources fail here by the thousand, and each line about it would be timed with it.
    logging.getLogger(_name).setLevel(logging.CRITICAL)
