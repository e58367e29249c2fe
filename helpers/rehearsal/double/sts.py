"""STS: who the keys of the emulator belong to."""

from typing import Any

from helpers.rehearsal.double.call import Call, Operations
from helpers.rehearsal.double.world import ACCOUNT_ID

USER_ID = "AIDAEXAMPLEUSERID0000"  # the shape of one; it belongs to nobody


def get_caller_identity(call: Call) -> dict[str, Any] | None:
    """The world's caller; moto knows the keys of the roles that were assumed in it."""
    if call.backend("sts", "aws").get_assumed_role_from_access_key(call.key):
        return None
    return {"UserId": USER_ID, "Account": ACCOUNT_ID, "Arn": call.world.caller}


OPERATIONS: Operations = {"GetCallerIdentity": get_caller_identity}
