"""Spot prices: what AWS says they were, by zone and type, and what held at a moment."""

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd

from helpers.cloud.account import Account, asking
from helpers.run import Record, Run, now
from helpers.scenario import Settings

DAYS = 7
PRODUCT = "Linux/UNIX"


class SpotPoint(Settings):
    """From this moment on, this price.

    Attributes:
        at: When, UTC, ISO 8601.
        zone: Availability zone.
        instance_type: EC2 instance type.
        usd: US dollars per hour.
    """

    at: str
    zone: str
    instance_type: str
    usd: float

    @property
    def moment(self) -> datetime:
        """`at` as a time."""
        return datetime.fromisoformat(self.at)


class SpotHistory(Record, stage="00", name="spot-prices"):
    """The price history of some instance types in a region.

    Attributes:
        region: Where.
        asked: When, UTC.
        days: How far it looks back.
        emulated: Whether an emulator made the figures up.
        points: Oldest first; a price holds until the next point of its zone and type.
    """

    region: str
    asked: str
    days: float
    emulated: bool
    points: tuple[SpotPoint, ...]

    @property
    def source(self) -> str:
        """Where the figures come from, as shown beside each of them."""
        return f"{'emulated ' if self.emulated else ''}spot price history of {self.asked[:10]}"

    def at(self, moment: datetime, instance_type: str, zone: str = "") -> float | None:
        """The price that held at a moment, US dollars per hour.

        Args:
            moment: When.
            instance_type: Of what.
            zone: Where; empty takes the dearest zone, since the node may stand in any.

        Returns:
            None where the history does not reach.
        """
        held: dict[str, float] = {}
        for point in self.points:
            if point.instance_type == instance_type and point.moment <= moment:
                held[point.zone] = point.usd
        if zone:
            return held.get(zone)
        return max(held.values(), default=None)

    def mean(
        self, start: datetime, end: datetime, instance_type: str, zone: str = ""
    ) -> float | None:
        """The time-weighted mean price between two moments; None where nothing is known."""
        changes = {p.moment for p in self.points if p.instance_type == instance_type}
        edges = [start, *sorted(one for one in changes if start < one < end), end]
        weighted, seconds = 0.0, 0.0
        for left, right in itertools.pairwise(edges):
            price, length = self.at(left, instance_type, zone), (right - left).total_seconds()
            if price is not None:
                weighted, seconds = weighted + price * length, seconds + length
        if seconds:
            return weighted / seconds
        return self.at(end, instance_type, zone)


def history(account: Account, instance_types: Iterable[str]) -> SpotHistory:
    """Ask AWS for the price history of the last week.

    It begins with the price that held at that moment.

    Args:
        account: Whom to ask.
        instance_types: Of which types.

    Raises:
        Problem: AWS does not answer.
    """
    end, types = datetime.now(UTC), sorted(set(instance_types))
    # an empty list would ask for every type there is
    found = _asked(account, types, end - timedelta(days=DAYS), end) if types else []
    return SpotHistory(
        region=account.region,
        asked=now(),
        days=DAYS,
        emulated=account.emulated,
        points=tuple(sorted(map(_point, found), key=lambda point: point.moment)),
    )


def record(run: Run, account: Account, instance_types: Iterable[str]) -> SpotHistory:
    """Ask for the last week, and keep it with the run: as a record and as a table.

    Raises:
        Problem: AWS does not answer.
    """
    made = history(account, instance_types)
    run.save(made)
    columns = list(SpotPoint.model_fields)
    rows = [one.model_dump() for one in made.points]
    run.save_table("spot_prices", pd.DataFrame(rows, columns=columns))
    return made


def by_zone(prices: SpotHistory, cap: float) -> pd.DataFrame:
    """Now, least, mean and most of the period, by zone and type, against the cap."""
    end = datetime.fromisoformat(prices.asked)
    start = end - timedelta(days=prices.days)
    pairs = sorted({(one.instance_type, one.zone) for one in prices.points})
    rows = []
    for kind, zone in pairs:
        seen = [p.usd for p in prices.points if (p.instance_type, p.zone) == (kind, zone)]
        current = prices.at(end, kind, zone)
        rows.append(
            {
                "type": kind,
                "zone": zone,
                "now, US$/h": current,
                "least": min(seen),
                "mean": prices.mean(start, end, kind, zone),
                "most": max(seen),
                "under the cap": "yes" if current is not None and current <= cap else "no",
                "source": prices.source,
            }
        )
    return pd.DataFrame(rows)


def frame(run: Run) -> pd.DataFrame:
    """The recorded week by zone against the profile's cap; one line where it was not told."""
    prices = run.find(SpotHistory)
    if prices is None:
        return pd.DataFrame({"spot price": ["not known: see the readiness report"]})
    return by_zone(prices, run.profile.infrastructure.gpu.max_price_usd)


def _asked(
    account: Account, types: list[str], begin: datetime, end: datetime
) -> list[dict[str, Any]]:
    pages = account.client("ec2").get_paginator("describe_spot_price_history")
    with asking("the spot price history"):
        return [
            item
            for page in pages.paginate(
                InstanceTypes=types, ProductDescriptions=[PRODUCT], StartTime=begin, EndTime=end
            )
            for item in page["SpotPriceHistory"]
        ]


def _point(item: dict[str, Any]) -> SpotPoint:
    return SpotPoint(
        at=item["Timestamp"].astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        zone=item["AvailabilityZone"],
        instance_type=item["InstanceType"],
        usd=float(item["SpotPrice"]),
    )
