"""Telemetry: a real Prometheus, its dashboards, rules and series, and the events of a run.

access: connections to Prometheus and Grafana, local or through the cluster
annotations: the run's events on a time axis
catalogue: every PromQL query
dashboard_checks: proof that every dashboard query is answered
dashboards: the five dashboards, and their JSON for Grafana
events: what happened during a load, from every source
grafana: annotations and snapshots in Grafana
monitoring: the cluster's monitoring, and the chart with dashboards and rules
prometheus: a Prometheus and a sampler on this machine
prometheus_api: PromQL over HTTP
records: the records of stages 04 and 05
rules: recording rules and alerts, checked by promtool
sampler: host, process and GPU metrics for Prometheus
series: the series of a load, read from Prometheus once
snapshots: dashboards with their data, as pictures and pages
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
