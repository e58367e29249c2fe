"""The cluster's monitoring: whether operator and DCGM exporter run, or were rendered."""

from helpers.cluster.records import Releases
from helpers.promises import Status, Tick, claim, tick
from helpers.run import Run
from helpers.telemetry.access import Access

# promise → release of k8s/releases.yaml, and a query that only its running can answer
WITNESSES = {
    "04.operator": ("kube-prometheus-stack", 'up{job=~".*operator.*"} == 1'),
    "04.dcgm": ("dcgm-exporter", "DCGM_FI_DEV_GPU_UTIL"),
}
STATUS = {"STATIC": Status.STATIC, "FAILED": Status.FAILED}
NOT_RENDERED = "a rehearsal has no cluster, and stage 02 of this run has not rendered the chart"


def look(run: Run, access: Access) -> dict[str, Tick]:
    """Tick operator and DCGM exporter: seen through Prometheus on AWS, rendered in a rehearsal.

    Args:
        run: The run.
        access: Whom it can ask.

    Raises:
        Problem: Prometheus does not answer.
    """
    return {promise: _look(run, access, promise) for promise in WITNESSES}


def _look(run: Run, access: Access, promise: str) -> Tick:
    release, query = WITNESSES[promise]
    if access.cluster is not None and access.server is not None:
        seen = len(access.server.query(query))
        return claim(
            run, promise, holds=seen > 0, evidence="records/04/targets.json",
            note=f"{seen} series answer '{query}'",
        )  # fmt: skip
    releases = run.find(Releases)
    found = releases.named(release) if releases else None
    if releases is None or found is None:
        return tick(run, promise, Status.NOT_REHEARSED, note=NOT_RENDERED)
    status = STATUS.get(found.label, Status.NOT_REHEARSED)
    return tick(run, promise, status, evidence=releases.path(), note=found.note)
