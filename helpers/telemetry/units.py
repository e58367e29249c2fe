"""Units as people read them, and as Grafana names them."""

GRAFANA = {
    "1/s": "reqps",
    "ms": "ms",
    "%": "percent",
    "MiB": "mbytes",
    "GiB": "gbytes",
    "W": "watt",
    "°C": "celsius",
    "h": "h",
    "US$": "currencyUSD",
    "": "none",
}
_SUFFIX = "suffix: "
_READ = {grafana: unit for unit, grafana in GRAFANA.items()}


def to_grafana(unit: str) -> str:
    """Grafana's name of a unit; what it has no name for is written behind the value.

    >>> to_grafana("°C"), to_grafana("images/s")
    ('celsius', 'suffix: images/s')
    """
    return GRAFANA.get(unit, f"{_SUFFIX}{unit}")


def from_grafana(name: str) -> str:
    """The unit that a panel names.

    >>> from_grafana("celsius"), from_grafana("suffix: images/s")
    ('°C', 'images/s')
    """
    return _READ.get(name, name.removeprefix(_SUFFIX))
