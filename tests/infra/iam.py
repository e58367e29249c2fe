"""IAM's answer to one request, as far as the deployer's policies need it."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

Statement = dict[str, Any]


@dataclass(frozen=True)
class Policies:
    """Policies of one role, all of whose statements allow.

    Attributes:
        documents: Name → parsed document.
    """

    documents: Mapping[str, dict[str, Any]]

    @classmethod
    def parsed(cls, texts: Mapping[str, str]) -> "Policies":
        """Policies from their JSON."""
        return cls({name: json.loads(text) for name, text in texts.items()})

    def statements(self) -> Iterator[Statement]:
        """Every statement of every policy."""
        for document in self.documents.values():
            yield from document["Statement"]

    def actions(self) -> set[str]:
        """Every action that is granted, wildcards as they stand."""
        return {action for one in self.statements() for action in many(one["Action"])}

    def allow(self, action: str, on: str = "*", context: Mapping[str, str] | None = None) -> bool:
        """Whether some statement allows an action on a resource.

        Args:
            action: Such as `ec2:DeleteVpc`.
            on: ARN of the resource.
            context: Values of condition keys, such as `aws:ResourceTag/project`.
        """
        return any(_allows(one, action, on, context or {}) for one in self.statements())


def many(value: str | list[str]) -> list[str]:
    """IAM writes a list of one as a plain string."""
    return [value] if isinstance(value, str) else value


def conditions(statement: Statement) -> Iterator[tuple[str, str, list[str]]]:
    """A statement's conditions: operator, key, values."""
    for operator, pairs in statement.get("Condition", {}).items():
        for key, values in pairs.items():
            yield operator, key, many(values)


def _allows(statement: Statement, action: str, on: str, context: Mapping[str, str]) -> bool:
    return (
        statement["Effect"] == "Allow"
        and _matches(action.lower(), (one.lower() for one in many(statement["Action"])))
        and _matches(on, many(statement["Resource"]))
        and all(
            _holds(operator, context.get(key), values)
            for operator, key, values in conditions(statement)
        )
    )


def _holds(operator: str, found: str | None, values: list[str]) -> bool:
    optional = operator.endswith("IfExists")
    match operator.removesuffix("IfExists"):
        case "StringEquals":
            return optional if found is None else found in values
        case "StringLike" | "ArnLike" | "ArnEquals":
            return optional if found is None else _matches(found, values)
        case _:
            raise AssertionError(f"the tests do not know the condition {operator}")


def _matches(value: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(value, pattern) for pattern in patterns)
