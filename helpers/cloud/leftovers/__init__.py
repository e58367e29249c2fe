"""What a run may have left in AWS: looked for by tag, name and VPC, kind by kind."""

from helpers.cloud.leftovers.findings import Found, Scan, frame, looked_frame
from helpers.cloud.leftovers.kinds import kinds
from helpers.cloud.leftovers.scan import scan

__all__ = ["Found", "Scan", "frame", "kinds", "looked_frame", "scan"]
