"""EC2: a spot market with a history."""

import hashlib
import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.ec2.models.instances import Instance
from moto.ec2.models.launch_templates import LaunchTemplate
from moto.ec2.models.nat_gateways import NatGatewayBackend
from moto.ec2.responses import EC2Response

from helpers.rehearsal.moto_extension import Call, Operations, add
from helpers.rehearsal.world import WORLD

STEP = timedelta(hours=4)
KEPT = timedelta(days=90)  # AWS keeps so much
PAGE = 1000
ZONE_SPREAD, SWING = 0.08, 0.05
PRODUCT = "Linux/UNIX"


def describe_spot_price_history(call: Call) -> dict[str, Any]:
    """Each change of a price between two moments, and the price that held at the first.

    As on AWS the newest change comes first, and a start of now gives the current price.
    """
    given, now = call.params, datetime.now(UTC)
    start = max(_aware(given.get("StartTime"), now - KEPT), now - KEPT)
    end = min(_aware(given.get("EndTime"), now), now)
    filters = {one["Name"]: one["Values"] for one in given.get("Filters", [])}
    rows = [
        _row(call, kind, zone, moment, product)
        for moment in _changes(start, end)
        for kind, zone in _offerings(call, filters)
        for product in given.get("ProductDescriptions") or [PRODUCT]
    ]
    first = int(given.get("NextToken") or 0)
    size = min(int(given.get("MaxResults") or PAGE), PAGE)
    more = str(first + size) if first + size < len(rows) else ""
    return {"SpotPriceHistory": rows[first : first + size], "NextToken": more}


def _aware(moment: datetime | None, otherwise: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment else otherwise


def _changes(start: datetime, end: datetime) -> Iterator[datetime]:
    """Moments of a change, newest first, down to the last one that is not after `start`."""
    number = int(end.timestamp() // STEP.total_seconds())
    while True:
        moment = datetime.fromtimestamp(number * STEP.total_seconds(), UTC)
        yield moment
        if moment <= start:
            return
        number -= 1


def _offerings(call: Call, filters: dict[str, list[str]]) -> list[tuple[str, str]]:
    """Instance types with a price, and the zones that have them."""
    given = call.params
    types = given.get("InstanceTypes") or filters.get("instance-type")
    zones = filters.get("availability-zone")
    if given.get("AvailabilityZone"):
        zones = [given["AvailabilityZone"]]
    offered = call.backend("ec2").describe_spot_price_history(types, {})
    return [
        (one["InstanceType"], one["Location"])
        for one in offered
        if one["InstanceType"] in WORLD.spot.usd and (not zones or one["Location"] in zones)
    ]


def _row(call: Call, kind: str, zone: str, moment: datetime, product: str) -> dict[str, Any]:
    return {
        "InstanceType": kind,
        "ProductDescription": product,
        "SpotPrice": f"{WORLD.spot.usd[kind] * _factor(zone, moment):.6f}",
        "AvailabilityZone": zone,
        "Timestamp": moment,
    }


def _factor(zone: str, moment: datetime) -> float:
    """How a zone's price differs from the base: never below it, the same at each asking."""
    share = hashlib.sha256(zone.encode()).digest()[0] / 255
    swing = (1 + math.sin(moment.timestamp() / 86_400 + 7 * share)) / 2
    return 1 + ZONE_SPREAD * share + SWING * swing


OPERATIONS: Operations = {"DescribeSpotPriceHistory": describe_spot_price_history}


_create_version = LaunchTemplate.create_version
_terminate = Instance.terminate
_delete_nat_gateway = NatGatewayBackend.delete_nat_gateway


def create_version(template: Any, data: dict[str, Any], description: str) -> Any:
    """Moto copies the template's own tags into its data, which Terraform sees as a change."""
    specifications = data.get("TagSpecifications") or []
    kept = [tags for tags in specifications if tags.get("ResourceType") != "launch-template"]
    others = {key: value for key, value in data.items() if key != "TagSpecifications"}
    return _create_version(
        template, others | ({"TagSpecifications": kept} if kept else {}), description
    )


def terminate(instance: Any) -> Any:
    """The interface made with an instance is removed with it (DeleteOnTermination)."""
    state = _terminate(instance)
    for interface in instance.nics.values():
        if interface.description == "Primary network interface":
            instance.ec2_backend.enis.pop(interface.id, None)
    return state


def delete_nat_gateway(backend: Any, nat_gateway_id: str) -> Any:
    """A NAT gateway's interface is removed with it."""
    gateway = _delete_nat_gateway(backend, nat_gateway_id)
    backend.enis.pop(gateway._eni.id, None)
    return gateway


def install() -> None:
    """Add the operations to moto, and correct what stays behind or looks changed."""
    for owner, method in (
        (LaunchTemplate, create_version),
        (Instance, terminate),
        (NatGatewayBackend, delete_nat_gateway),
    ):
        setattr(owner, method.__name__, method)
    add(EC2Response, OPERATIONS)
