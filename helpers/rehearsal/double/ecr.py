"""ECR: what a scan on push has found."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

from helpers.rehearsal.double.call import Call, Operations


def describe_image_scan_findings(call: Call) -> dict[str, Any] | None:
    """Findings of an image that was scanned when it was pushed; other images are moto's."""
    given, backend = call.params, call.backend("ecr")
    repository = backend.repositories.get(given["repositoryName"])
    if repository is None or not _scans_on_push(repository):
        return None
    image = repository._get_image(
        given["imageId"].get("imageTag"), given["imageId"].get("imageDigest")
    )
    number = count(1)
    findings = [
        {"name": f"CVE-0000-{next(number):04d}", "severity": severity}
        for severity, times in call.world.scan_findings.items()
        for _ in range(times)
    ]
    return {
        "registryId": repository.registry_id,
        "repositoryName": given["repositoryName"],
        "imageId": image.image_id,
        "imageScanStatus": {"status": "COMPLETE", "description": "The scan was completed."},
        "imageScanFindings": {
            "imageScanCompletedAt": datetime.fromtimestamp(image.image_pushed_at, UTC),
            "findingSeverityCounts": call.world.scan_findings,
            "findings": findings,
        },
    }


def _scans_on_push(repository: Any) -> bool:
    return bool((repository.image_scanning_configuration or {}).get("scanOnPush"))


OPERATIONS: Operations = {"DescribeImageScanFindings": describe_image_scan_findings}
