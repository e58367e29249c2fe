"""IAM's answer to one request, as far as the deployer's policies need it."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

Statement = dict[str, Any]


@dataclass(frozen=True)
class Policies:
    """Parsed policies of one role, all of whose statements allow."""

    documents: tuple[dict[str, Any], ...]

    def statements(self) -> Iterator[Statement]:
        """Every statement of every policy."""
        for document in self.documents:
            yield from document["Statement"]

    def actions(self) -> set[str]:
        """Every action that is granted, wildcards as they stand."""
        return {action for each in self.statements() for action in many(each["Action"])}

    def allow(self, action: str, on: str = "*", context: Mapping[str, str] | None = None) -> bool:
        """Whether some statement allows an action on an ARN, under values of condition keys."""
        return any(_allows(each, action, on, context or {}) for each in self.statements())


def many(value: str | list[str]) -> list[str]:
    """IAM writes a list of one as a plain string."""
    return [value] if isinstance(value, str) else value


def _allows(statement: Statement, action: str, on: str, context: Mapping[str, str]) -> bool:
    return (
        statement["Effect"] == "Allow"
        and _matches(action.lower(), (name.lower() for name in many(statement["Action"])))
        and _matches(on, many(statement["Resource"]))
        and all(
            _holds(operator, context.get(key), many(values))
            for operator, pairs in statement.get("Condition", {}).items()
            for key, values in pairs.items()
        )
    )


def _holds(operator: str, value: str | None, allowed: list[str]) -> bool:
    kind = operator.removesuffix("IfExists")
    assert kind in ("StringEquals", "StringLike", "ArnLike", "ArnEquals"), f"unknown: {operator}"
    if value is None:
        return kind != operator
    return value in allowed if kind == "StringEquals" else _matches(value, allowed)


def _matches(value: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in patterns)
