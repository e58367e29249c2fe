"""Profiles as files: those of the checkout, and the one that a run has stored."""

from pathlib import Path
from typing import Any

import yaml

from helpers.errors import Problem
from helpers.paths import PROFILES


def names() -> list[str]:
    """The profiles there are."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def named(name: str) -> dict[str, Any]:
    """What `profiles/<name>.yaml` holds, unchecked.

    Raises:
        Problem: There is no such profile, or it is no mapping in YAML.
    """
    if name not in names():
        raise Problem(f"Profile '{name}' does not exist.", f"Choose one of: {', '.join(names())}.")
    try:
        data = yaml.safe_load((PROFILES / f"{name}.yaml").read_text())
    except yaml.YAMLError as error:
        raise Problem(f"Profile '{name}' is not valid YAML: {_flat(error)}.") from error
    if not isinstance(data, dict):
        raise Problem(f"Profile '{name}' is empty or not a mapping.")
    return data


def stored(path: Path) -> Any:
    """What a run has stored as its profile, unchecked.

    Raises:
        Problem: The file is missing, or is no YAML.
    """
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise Problem(
            f"The profile {path.name} of the run cannot be read: {_flat(error)}."
        ) from error


def _flat(error: Exception) -> str:
    """A parser says where it stopped on lines of its own."""
    return " ".join(str(error).split())
