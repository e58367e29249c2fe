"""Whether something on this machine answers; apart, since the library for it is slow to import."""

import requests

PROBE_TIMEOUT_S = 2.0


def answers(url: str) -> bool:
    """Whether something answers well at an address of this machine, past any proxy."""
    with requests.Session() as session:
        session.trust_env = False
        try:
            return session.get(url, timeout=PROBE_TIMEOUT_S).ok
        except requests.RequestException:
            return False
