"""Prices: a dated table of list prices, refreshed by AWS's own Pricing API where that answers.

Keys are `<service>.<what>`: `eks.standard`, `nat.hour`, `nat.gb`, `ipv4.hour`, `alb.hour`,
`alb.lcu`, `gp3.gb`, `ec2.<instance type>` and so on; `price_tables/*.json` lists them all.
"""

import json
import math
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from helpers.cloud import pricing_api
from helpers.cloud.account import Account
from helpers.errors import Problem
from helpers.run import Record, Run, now
from helpers.scenario import Settings

TABLES = Path(__file__).parent / "price_tables"
HOURS_PER_MONTH = 730.0  # AWS's own divisor for what is billed by the month
Unit = Literal["hour", "GB", "GB-month", "LCU-hour", "month", "request"]


class Price(Settings):
    """One price.

    Attributes:
        key: Its name in the table.
        usd: US dollars per unit.
        per: The unit.
        whole: Whether a part of an hour is billed as a whole one.
        origin: `list price` of the table, or `Pricing API`.
        checked: The day for which it is known, ISO 8601.
        source: The page that publishes it.
        note: What it includes or leaves out; may be empty.
    """

    key: str
    usd: float
    per: Unit
    whole: bool = False
    origin: Literal["list price", "Pricing API"] = "list price"
    checked: str
    source: str
    note: str = ""

    @property
    def label(self) -> str:
        """Where it comes from and of which day, as shown beside each figure."""
        return f"{self.origin} of {self.checked}"

    @property
    def per_hour(self) -> float:
        """US dollars an hour for one unit; of a monthly price its part of an hour.

        Raises:
            ValueError: It is billed by amount, not by time.
        """
        if self.per in ("hour", "LCU-hour"):
            return self.usd
        if self.per in ("GB-month", "month"):
            return self.usd / HOURS_PER_MONTH
        raise ValueError(f"{self.key} is billed per {self.per}, not by time")

    def cost(self, hours: float, count: float = 1.0) -> float:
        """US dollars for `count` units over so many hours, rounded as AWS bills them.

        Raises:
            ValueError: It is billed by amount, not by time.
        """
        billed = math.ceil(hours - 1e-9) if self.whole else hours
        return self.per_hour * billed * count


class PriceTable(Record, stage="00", name="prices"):
    """The prices a run reckons with.

    Attributes:
        region: The region they hold for.
        basis: What kind of price they are.
        prices: Key → price.
    """

    region: str
    basis: str
    prices: dict[str, Price]

    def price(self, key: str) -> Price:
        """The price of this key.

        Raises:
            Problem: The table does not know it.
        """
        if key not in self.prices:
            raise Problem(
                f"The price table of {self.region} has no price '{key}'.",
                "Add it, with its source, to helpers/cloud/price_tables.",
            )
        return self.prices[key]

    def instance(self, instance_type: str) -> Price:
        """The on-demand price of an instance type, per hour.

        Raises:
            Problem: The table does not know the type.
        """
        return self.price(f"ec2.{instance_type}")

    @property
    def summary(self) -> str:
        """One sentence: how many prices, of which kind and day."""
        labels = sorted({one.label for one in self.prices.values()})
        return f"{len(self.prices)} prices of {self.region}: {', '.join(labels)} ({self.basis})"


def load(region: str) -> PriceTable:
    """The committed table for a region.

    Raises:
        Problem: No table covers the region.
    """
    tables = [json.loads(path.read_text()) for path in sorted(TABLES.glob("*.json"))]
    for table in tables:
        if region in table["regions"]:
            return _parsed(region, table)
    known = ", ".join(name for table in tables for name in table["regions"])
    raise Problem(
        f"There are no prices for region '{region}', so no cost can be shown before it arises.",
        f"Choose one of {known}, or add the region's list prices to helpers/cloud/price_tables.",
    )


def of(run: Run, account: Account) -> PriceTable:
    """The run's prices: recorded ones, else the table, refreshed by the Pricing API on AWS.

    Raises:
        Problem: No table covers the region.
    """
    recorded = run.find(PriceTable)
    if recorded and recorded.region == account.region:
        return recorded
    table = load(account.region)
    made = table if account.emulated else refreshed(table, account)
    run.save(made)
    return made


def refreshed(table: PriceTable, account: Account) -> PriceTable:
    """The table with today's prices of instances; what the API does not tell stays as listed."""
    prices = dict(table.prices)
    try:
        for key in filter(lambda key: key.startswith("ec2."), table.prices):
            usd = pricing_api.hourly(account, key.removeprefix("ec2."))
            if usd is not None:
                facts = {"usd": usd, "origin": "Pricing API", "checked": now()[:10]}
                prices[key] = prices[key].model_copy(update=facts)
    except Problem as problem:
        print(f"Prices of instances are those of the table: {problem}")
    return table.model_copy(update={"prices": prices})


def frame(table: PriceTable) -> pd.DataFrame:
    """One row a price, as people read it."""
    rows = list(table.prices.values())
    return pd.DataFrame(
        {
            "price": [one.key for one in rows],
            "US$": [one.usd for one in rows],
            "per": [one.per for one in rows],
            "known from": [one.label for one in rows],
            "source": [one.source for one in rows],
            "note": [one.note for one in rows],
        }
    )


def _parsed(region: str, table: dict[str, Any]) -> PriceTable:
    checked = table["checked"]
    prices = {
        key: Price(key=key, **({"checked": checked} | facts))
        for key, facts in table["prices"].items()
    }
    return PriceTable(region=region, basis=table["basis"], prices=prices)
