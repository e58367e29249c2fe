"""The dashboards, built from the catalogue; `k8s/dashboards/*.json` is what this package writes.

    python -m helpers.telemetry.dashboards          # write them
    python -m helpers.telemetry.dashboards --check  # say which are not current

The committed files carry the targets of the profile `aws`: they are what the cluster shows. A run
builds its own with the targets of its profile.
"""

from helpers.telemetry.dashboards.building import NAMES, build, differences, write

__all__ = ["NAMES", "build", "differences", "write"]
