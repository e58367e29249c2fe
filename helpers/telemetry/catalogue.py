"""The catalogue of series: every PromQL query, defined once for dashboards, tables and records.

They are in `catalogue.yaml`, which explains its fields and placeholders.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import yaml

VARIABLES = ("model", "namespace", "pod")
MATCH_ALL = ".*"  # also matches an absent label: a rehearsal has neither namespace nor pod
_SELECT = {name: f'{name}=~"${name}"' for name in VARIABLES}
SELECTED, ON_GPU = ",".join(_SELECT.values()), ",".join(list(_SELECT.values())[1:])
_RATE = re.compile(r"RATE\((\w+)\)")


@dataclass(frozen=True)
class Series:
    """A PromQL query, with what a reader needs to understand its result."""

    name: str  # name in tables and records
    title: str  # title for readers
    promql: str  # the query; `WINDOW` stands for the range, `$model` and such for the variables
    absence: str  # the likely reason when there is no value
    about: str  # what it measures and its limits, in one or two sentences
    unit: str = ""  # unit of the values; empty for a plain number
    label: str = ""  # the label that distinguishes its lines; empty for a single line
    at_least: str | float = ""  # name of the limit that values must reach, or the limit
    below: str | float = ""  # name of the limit that values must stay below, or the limit

    def query(self, window_s: float) -> str:
        """The query with a window of this many seconds; the variables select everything."""
        query = self.promql.replace("WINDOW", duration(window_s))
        for variable in VARIABLES:
            query = query.replace(f"${variable}", MATCH_ALL)
        return query

    @property
    def grafana_query(self) -> str:
        """The query as it appears in a Grafana dashboard."""
        return self.promql.replace("WINDOW", "$__rate_interval")


def duration(length_s: float) -> str:
    """A duration in Prometheus syntax.

    >>> duration(5.0), duration(0.5)
    ('5s', '500ms')
    """
    return f"{length_s:.0f}s" if length_s == round(length_s) else f"{round(length_s * 1000)}ms"


def _read() -> dict[str, Series]:
    text = Path(__file__).with_suffix(".yaml").read_text()
    text = _RATE.sub(r"sum by (model) (rate(nv_inference_\1{SELECTED}[WINDOW]))", text)
    text = text.replace("SELECTED", SELECTED).replace("ON_GPU", ON_GPU)
    return {name: Series(name, **raw) for name, raw in yaml.safe_load(text)["series"].items()}


SERIES = _read()
NO_GPU = SERIES["gpu_utilisation"].absence
LOAD_SERIES = tuple(SERIES[name] for name in (
    "requests", "failures", "queue_time", "compute_time", "batch_size", "pending",
    "cpu_utilisation", "memory_used", "cpu_by_role", "gpu_utilisation", "gpu_memory"))  # fmt: skip
"""The series in the record of every load test."""
