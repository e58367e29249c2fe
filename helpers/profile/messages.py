"""What the schema refuses, as people read it."""

from pydantic import ValidationError
from pydantic_core import ErrorDetails

# what was given is unknown, absent, or in the text already
_WITHOUT_INPUT = ("extra_forbidden", "missing", "value_error")


def sentence(error: ValidationError) -> str:
    """What is not valid, and where, in one sentence without its full stop."""
    return "; ".join(_fault(item) for item in error.errors())


def _fault(item: ErrorDetails) -> str:
    where = ".".join(str(part) for part in item["loc"])
    what = item["msg"].removeprefix("Value error, ")
    if item["type"] == "extra_forbidden":
        what = "unknown key"
    if item["type"] not in _WITHOUT_INPUT:
        what = f"{what} (it is {item['input']!r:.60})"
    return f"{where}: {what}" if where else what
