"""The profile's choices as Terraform's variables, and where the state lies."""

import json
from pathlib import Path
from typing import Any

from helpers.run import Run

# Two nodes for system pods: a drained one must not take the cluster's webhooks with it.
SYSTEM_NODES = {"min": 1, "desired": 2, "max": 3}


def of(run: Run, api_cidr: str, certificate: Path | None, key: Path | None) -> dict[str, Any]:
    """The variables of `infra/` for a run.

    Args:
        run: Its profile decides.
        api_cidr: Who may reach the cluster's API.
        certificate: The load balancer's certificate, as Terraform's folder sees it.
        key: Its private key.
    """
    chosen = run.profile.infrastructure
    return {
        "region": run.profile.region,
        "name": chosen.name,
        "run_id": run.run_id,
        "tags": run.profile.tags,
        "kubernetes_version": chosen.kubernetes_version,
        "zones": chosen.zones,
        "nat_per_zone": chosen.nat_per_zone,
        "api_cidr": chosen.api_cidr or api_cidr,
        "cpu_instance_types": list(chosen.cpu_instance_types),
        "cpu_nodes": SYSTEM_NODES,
        "gpu": chosen.gpu.model_dump(),
        "ttl_hours": chosen.ttl_hours,
        "certificate_file": str(certificate or ""),
        "certificate_key_file": str(key or ""),
        "budget_usd": chosen.budget_usd,
        "alert_email": chosen.alert_email,
    }


def backend(run: Run) -> str:
    """The state's place as an override file of Terraform.

    A bucket, where the profile names one, with the lock that S3 itself can hold
    (`use_lockfile`, Terraform 1.10); else a file in the run's folder.
    """
    bucket = run.profile.infrastructure.state_bucket
    if not bucket:
        return _override("local", {"path": "../terraform.tfstate"})
    chosen = {
        "bucket": bucket,
        "key": f"{run.profile.infrastructure.name}/{run.run_id}/terraform.tfstate",
        "region": run.profile.region,
        "encrypt": True,
        "use_lockfile": True,
    }
    return _override("s3", chosen)


def _override(kind: str, settings: dict[str, Any]) -> str:
    return json.dumps({"terraform": {"backend": {kind: settings}}}, indent=2) + "\n"
