"""Telemetry: a real Prometheus, its dashboards, rules and series, and the events of a run.

Queries and what shows them: catalogue, dashboards, dashboard_checks, rules, snapshots.
Servers: prometheus (on this machine, with sampler) and its API, monitoring (in the cluster),
grafana; access connects to them. Of a run: series, events, annotations, records.
"""

__all__ = [
    "access",
    "dashboard_checks",
    "events",
    "grafana",
    "monitoring",
    "prometheus",
    "rules",
    "series",
    "snapshots",
]
