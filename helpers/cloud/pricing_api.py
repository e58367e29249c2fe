"""List prices of instances as AWS's Pricing API tells them today."""

import json
from collections.abc import Iterator
from typing import Any

from helpers.cloud.account import Account, asking

API_REGION = "us-east-1"  # one of the few that answer, for all regions
SHARED_LINUX = {
    "operatingSystem": "Linux",
    "tenancy": "Shared",
    "preInstalledSw": "NA",
    "capacitystatus": "Used",
}
HOURS = ("Hrs", "Hours", "Hour")


def hourly(account: Account, instance_type: str) -> float | None:
    """The on-demand price of an instance type on Linux, US dollars per hour.

    Returns:
        None where not exactly one price is offered: a guess would be worse than the table.

    Raises:
        Problem: AWS does not answer.
    """
    wanted = SHARED_LINUX | {"instanceType": instance_type, "regionCode": account.region}
    filters = [{"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in wanted.items()]
    with asking("the list prices"):
        pages = account.client("pricing", API_REGION).get_paginator("get_products")
        found = {
            usd
            for page in pages.paginate(ServiceCode="AmazonEC2", Filters=filters)
            for offer in page["PriceList"]
            for usd in _hourly(json.loads(offer))
        }
    return found.pop() if len(found) == 1 else None


def _hourly(offer: dict[str, Any]) -> Iterator[float]:
    """On-demand prices per hour of one offer; those that cost nothing left out."""
    for term in offer.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            usd = float(dimension["pricePerUnit"].get("USD", 0))
            if usd and dimension["unit"] in HOURS:
                yield usd
