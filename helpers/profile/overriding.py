"""Settings: `key=value` pairs that change a profile before it is checked."""

from typing import Any

import yaml

from helpers.errors import Problem


def changed(data: dict[str, Any], settings: str) -> dict[str, Any]:
    """The profile with what the settings say in place.

    Args:
        data: A profile as its file holds it; it is changed.
        settings: Comma-separated `key=value` pairs, as `Profile.load_named` takes them.

    Raises:
        Problem: A pair has no value, or its key leads nowhere.
    """
    for pair in filter(None, (part.strip() for part in settings.split(","))):
        key, equals, value = pair.partition("=")
        if not equals:
            raise Problem(f"The setting '{pair}' has no value.", "Write it as key=value.")
        *parents, leaf = key.strip().split(".")
        place: Any = data
        for step in parents:
            place = _step(place, step, key)
        if isinstance(place, list):
            raise Problem(f"The setting '{key}' replaces a whole item; name one of its keys.")
        place[leaf] = _value(key, value)
    return data


def _value(key: str, value: str) -> Any:
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise Problem(f"The value of '{key}' is not valid YAML: {value.strip()}.") from error


def _step(place: Any, step: str, key: str) -> Any:
    if isinstance(place, list):
        for number, item in enumerate(place):
            if isinstance(item, dict) and step in (str(number), item.get("name")):
                return item
    elif isinstance(place, dict) and isinstance(place.get(step), dict | list):
        return place[step]
    raise Problem(f"The setting '{key}' does not exist: nothing is called '{step}'.")
