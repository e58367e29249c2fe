"""A value inside an object, with the path that leads to it.

Access never fails: what is absent or of another type reads as nothing. Types are the schema's
business, so a rule may run over an object that the schema has already refused.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Field:
    """A value inside an object, and the path that leads to it.

    >>> port = Field({"ports": [{"name": "http"}]})["ports"][0]["name"]
    >>> port.path, port.text
    ('ports[0].name', 'http')
    """

    value: Any
    path: str = ""

    def __getitem__(self, key: str | int) -> "Field":
        inner = None
        if isinstance(key, int):
            path = f"{self.path}[{key}]"
            if isinstance(self.value, list) and -len(self.value) <= key < len(self.value):
                inner = self.value[key]
        else:
            plain = _PLAIN_KEY.fullmatch(key) is not None
            step = (f".{key}" if self.path else key) if plain else f"['{key}']"
            path = f"{self.path}{step}"
            inner = self.value.get(key) if isinstance(self.value, Mapping) else None
        return Field(inner, path)

    def __iter__(self) -> Iterator["Field"]:
        count = len(self.value) if isinstance(self.value, list) else 0
        return (self[number] for number in range(count))

    @property
    def given(self) -> bool:
        """Whether there is a value; null is none."""
        return self.value is not None

    @property
    def text(self) -> str:
        """The value where it is text, else nothing."""
        return self.value if isinstance(self.value, str) else ""

    @property
    def scalar(self) -> str | int | float | None:
        """The value where it is no mapping and no list: what may be a member of a set."""
        return self.value if isinstance(self.value, str | int | float) else None

    @property
    def integer(self) -> int | None:
        """The value where it is a whole number."""
        is_number = isinstance(self.value, int) and not isinstance(self.value, bool)
        return self.value if is_number else None

    @property
    def entries(self) -> dict[str, "Field"]:
        """The members of a mapping."""
        if not isinstance(self.value, Mapping):
            return {}
        return {str(key): self[str(key)] for key in self.value}

    @property
    def strings(self) -> dict[str, str]:
        """The members of a mapping that are text, such as labels."""
        return {key: member.text for key, member in self.entries.items() if member.text or
                member.value == ""}  # fmt: skip

    def walk(self) -> Iterator["Field"]:
        """This field and every field below it."""
        yield self
        for inner in (*self.entries.values(), *self):
            yield from inner.walk()
