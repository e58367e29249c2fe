"""Prices: a dated table of list prices, AWS's Pricing API, and the history of spot prices.

Keys are `<service>.<what>`, such as `nat.hour`; `price_tables/*.json` lists them all.
"""

import json
import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import jmespath
import pandas as pd

from helpers.cloud.account import GLOBAL_REGION, Account, asking
from helpers.errors import Problem
from helpers.run import Record, Run, now
from helpers.scenario import Settings

TABLES = Path(__file__).parent / "price_tables"
HOURS_PER_MONTH = 730.0  # AWS's own divisor for monthly prices
SHARED_LINUX = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA",
                "capacitystatus": "Used"}  # fmt: skip
SPOT_DAYS = 7


class Price(Settings):
    """One price."""

    key: str  # its name in the table
    usd: float  # US dollars per unit
    per: Literal["hour", "GB", "GB-month", "LCU-hour", "month", "request"]  # the unit
    whole: bool = False  # whether a part of an hour is billed as a whole hour
    origin: Literal["list price", "Pricing API"] = "list price"
    checked: str  # the day for which it is known, ISO 8601
    source: str  # the page that publishes it
    note: str = ""  # what it includes or leaves out; may be empty

    @property
    def label(self) -> str:
        """Where it comes from and its date, as shown beside each figure."""
        return f"{self.origin} of {self.checked}"

    @property
    def per_hour(self) -> float:
        """US dollars an hour for one unit; of traffic, for one unit an hour."""
        return self.usd / (HOURS_PER_MONTH if "month" in self.per else 1)

    def cost(self, hours: float, count: float = 1.0) -> float:
        """US dollars for `count` units over so many hours, rounded as AWS bills them."""
        return self.per_hour * (math.ceil(hours - 1e-9) if self.whole else hours) * count


class PriceTable(Record, stage="00", name="prices"):
    """The prices of a run: region, kind of price, and key → price."""

    region: str
    basis: str
    prices: dict[str, Price]

    def price(self, key: str) -> Price:
        """The price of this key."""
        if key not in self.prices:
            raise Problem(
                f"The price table of {self.region} has no price '{key}'.",
                "Add it, with its source, to helpers/cloud/price_tables.",
            )
        return self.prices[key]

    @property
    def summary(self) -> str:
        """One sentence: how many prices, of which kind and date."""
        labels = sorted({price.label for price in self.prices.values()})
        return f"{len(self.prices)} prices of {self.region}: {', '.join(labels)} ({self.basis})"


def load_table(region: str) -> PriceTable:
    """The committed table of a region; a region without one is a `Problem`."""
    tables = [json.loads(path.read_text()) for path in sorted(TABLES.glob("*.json"))]
    for table in tables:
        if region in table["regions"]:
            prices = {
                key: Price(key=key, **({"checked": table["checked"]} | facts))
                for key, facts in table["prices"].items()
            }
            return PriceTable(region=region, basis=table["basis"], prices=prices)
    known = ", ".join(name for table in tables for name in table["regions"])
    raise Problem(
        f"There are no prices for region '{region}', so costs cannot be shown in advance.",
        f"Choose one of {known}, or add the region's list prices to helpers/cloud/price_tables.",
    )


def record_prices(run: Run, account: Account) -> PriceTable:
    """The run's prices: recorded ones, else the table, on AWS updated from the Pricing API."""
    recorded = run.find(PriceTable)
    if recorded and recorded.region == account.region:
        return recorded
    table = load_table(account.region)
    prices = dict(table.prices)
    try:
        for key in [] if account.emulated else [key for key in prices if key.startswith("ec2.")]:
            if (usd := query_instance_price(account, key.removeprefix("ec2."))) is not None:
                facts = {"usd": usd, "origin": "Pricing API", "checked": now()[:10]}
                prices[key] = prices[key].model_copy(update=facts)
    except Problem as problem:  # what the API does not have stays as listed
        print(f"Instance prices come from the table: {problem}")
    return run.save(table.model_copy(update={"prices": prices}))


def query_instance_price(account: Account, instance_type: str) -> float | None:
    """The Pricing API's on-demand Linux price, US$ an hour; None unless there is exactly one."""
    terms = SHARED_LINUX | {"instanceType": instance_type, "regionCode": account.region}
    filters = [{"Type": "TERM_MATCH", "Field": k, "Value": v} for k, v in terms.items()]
    with asking("the list prices"):
        pages = account.client("pricing", GLOBAL_REGION).get_paginator("get_products")
        texts = pages.paginate(ServiceCode="AmazonEC2", Filters=filters).search("PriceList[]")
        offers = [json.loads(text) for text in texts]
    dimensions = "[].terms.OnDemand.* | [] | [].priceDimensions.* | []"
    prices = {
        usd
        for dimension in jmespath.search(dimensions, offers)
        if dimension["unit"] in ("Hrs", "Hours", "Hour")
        and (usd := float(dimension["pricePerUnit"].get("USD", 0)))
    }
    return prices.pop() if len(prices) == 1 else None


def frame(table: PriceTable) -> pd.DataFrame:
    """One row for each price."""
    rows = [(p.key, p.usd, p.per, p.label, p.source, p.note) for p in table.prices.values()]
    return pd.DataFrame(rows, columns=["price", "US$", "per", "known from", "source", "note"])


class SpotPoint(Settings):
    """A spot price, US dollars an hour, from a moment (UTC) on, for a zone and instance type."""

    at: datetime
    zone: str
    instance_type: str
    usd: float


class SpotHistory(Record, stage="00", name="spot-prices"):
    """The spot prices of some instance types in a region."""

    region: str
    asked: str  # when, UTC
    days: float  # how far it looks back
    emulated: bool
    points: tuple[SpotPoint, ...]  # oldest first; each holds until the next of its zone and type

    @property
    def source(self) -> str:
        """Where the figures come from, as shown beside each of them."""
        return f"{'emulated ' if self.emulated else ''}spot price history of {self.asked[:10]}"

    def price_at(self, moment: datetime, instance_type: str, zone: str = "") -> float | None:
        """The price at a moment, US dollars an hour; None where the history does not reach.

        Without a zone it is that of the most expensive one, as the node may be in any.
        """
        by_zone: dict[str, float] = {}
        for point in self.points:
            if point.instance_type == instance_type and point.at <= moment:
                by_zone[point.zone] = point.usd
        return by_zone.get(zone) if zone else max(by_zone.values(), default=None)

    def changes(self, instance_type: str, start: datetime, end: datetime) -> list[datetime]:
        """Start, every price change in between, end."""
        moments = {p.at for p in self.points if p.instance_type == instance_type}
        return [start, *sorted(at for at in moments if start < at < end), end]


def record_spot_prices(run: Run, account: Account, instance_types: Iterable[str]) -> SpotHistory:
    """Ask for the last week's spot prices (at its start, too); keep them as record and table."""
    end, types = datetime.now(UTC), sorted(set(instance_types))
    wanted = {
        "InstanceTypes": types,
        "ProductDescriptions": ["Linux/UNIX"],
        "StartTime": end - timedelta(days=SPOT_DAYS),
        "EndTime": end,
    }
    pages = account.client("ec2").get_paginator("describe_spot_price_history")
    with asking("the spot price history"):
        points = [
            SpotPoint(
                at=item["Timestamp"].astimezone(UTC).replace(microsecond=0),
                zone=item["AvailabilityZone"],
                instance_type=item["InstanceType"],
                usd=float(item["SpotPrice"]),
            )
            # an empty list of types would ask for every type there is
            for item in (pages.paginate(**wanted).search("SpotPriceHistory[]") if types else ())
        ]
    history = SpotHistory(
        region=account.region,
        asked=now(),
        days=SPOT_DAYS,
        emulated=account.emulated,
        points=tuple(sorted(points, key=lambda point: point.at)),
    )
    run.save(history)
    rows = [point.model_dump(mode="json") for point in history.points]
    run.save_table("spot_prices", pd.DataFrame(rows, columns=list(SpotPoint.model_fields)))
    return history


def spot_frame(run: Run) -> pd.DataFrame:
    """The recorded week by type and zone, against the profile's price cap."""
    history, cap = run.find(SpotHistory), run.profile.infrastructure.gpu.max_price_usd
    if history is None:
        return pd.DataFrame({"spot price": ["not known: see the readiness report"]})
    rows = run.load_table("spot_prices").groupby(["instance_type", "zone"])["usd"]
    table = rows.agg(["last", "min", "mean", "max"]).reset_index()
    table["under the cap"] = table["last"].le(cap).map({True: "yes", False: "no"})
    names = {"instance_type": "type", "last": "now, US$/h", "min": "least", "max": "most"}
    return table.rename(columns=names).assign(source=history.source)
