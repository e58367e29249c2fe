"""The environment of what plays AWS: nothing that a user has set for AWS gets into it."""

import os
from collections.abc import Mapping

CLEAN = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def without_users_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with every AWS setting replaced by none.

    >>> without_users_settings({"HOME": "/h", "AWS_PROFILE": "mine"})["HOME"]
    '/h'
    """
    kept = {key: value for key, value in environment.items() if not key.startswith("AWS_")}
    return kept | CLEAN
