"""Whether an agent is well, for who runs it in a container: its page of figures answers, and it keeps up with its devices.

It stands alone, so that looking costs no more than an interpreter.
"""

from __future__ import annotations

import re
import sys
import urllib.request

WAIT_S = 5.0
MOST_LAG_S = 30.0  # behind the devices; the agent itself drops what is more than a few seconds behind


def wrong(url: str) -> str:
    """What is wrong with the agent whose figures are at an address; empty when nothing is."""
    try:
        with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
            page = answer.read().decode()
    except (OSError, ValueError) as error:
        return f"{url}: cannot be read ({error}); the settings need a table [metrics]"
    lag = re.search(r"^favor_lag_seconds (\S+)$", page, re.MULTILINE)
    if lag is None:
        return f"{url}: there is no favor_lag_seconds; expected the agent's page of figures"
    return "" if float(lag[1]) <= MOST_LAG_S else f"{url}: perception is {float(lag[1]):.0f} s behind the devices"


if __name__ == "__main__":
    sys.exit(wrong(sys.argv[1]) or 0)
