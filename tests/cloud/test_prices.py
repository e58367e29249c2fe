"""Prices carry date and source, are rounded as AWS bills, and are never guessed."""

import itertools
import json
from datetime import UTC, date, datetime
from typing import Any
from unittest.mock import Mock

import pytest

from helpers.cloud import prices
from helpers.cloud.account import Account
from helpers.cloud.prices import TABLES, Price, SpotHistory, SpotPoint
from helpers.errors import Problem
from helpers.run import Run
from tests.emulated import Emulated, Fault

EVERY_RUN_NEEDS = ("eks.standard", "nat.hour", "nat.gb", "ipv4.hour", "alb.hour",
                   "alb.lcu", "gp3.gb", "ecr.gb", "s3.gb", "transfer.out.gb", "cloudwatch.alarm",
                   "ec2.t3.large", "ec2.t3a.large", "ec2.g4dn.xlarge")  # fmt: skip
REGIONS = [
    name for path in TABLES.glob("*.json") for name in json.loads(path.read_text())["regions"]
]
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def test_each_table_has_every_price_with_date_and_source() -> None:
    assert "us-east-1" in REGIONS
    for region, key in itertools.product(REGIONS, EVERY_RUN_NEEDS):
        price = prices.load_table(region).price(key)
        assert price.usd > 0 and price.source.startswith("https://aws.amazon.com/")
        assert date.fromisoformat(price.checked) and price.label.startswith("list price of 2")


def test_a_region_or_a_price_that_is_not_known_is_refused() -> None:
    with pytest.raises(Problem, match=r"no prices for region 'ap-south-1'.*us-east-1"):
        prices.load_table("ap-south-1")
    with pytest.raises(Problem, match=r"no price 'ec2\.p5\.48xlarge'"):
        prices.load_table("us-east-1").price("ec2.p5.48xlarge")


@pytest.mark.parametrize(
    ("facts", "hours", "count", "usd"),
    [
        ({"usd": 0.045, "per": "hour", "whole": True}, 1.2, 2, 0.18),
        ({"usd": 0.045, "per": "hour", "whole": True}, 3.0, 1, 0.135),
        ({"usd": 0.5, "per": "hour"}, 1.2, 1, 0.6),
        ({"usd": 0.08, "per": "GB-month"}, 73, 100, 0.8),
        ({"usd": 0.09, "per": "GB"}, 2, 0.3, 0.054),
    ],
)
def test_parts_of_an_hour_are_billed_as_the_service_does(
    facts: dict[str, Any], hours: float, count: float, usd: float
) -> None:
    price = Price(key="x", checked="2026-01-01", source="https://x", **facts)
    assert price.cost(hours, count) == pytest.approx(usd)


def test_a_rehearsal_takes_the_table_and_keeps_it(run: Run) -> None:
    table = prices.record_prices(run, Account("us-east-1", "http://127.0.0.1:1"))
    assert run.load(prices.PriceTable) == table
    assert {price.origin for price in table.prices.values()} == {"list price"}


def offer(usd: float) -> str:
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": str(usd)}}
    return json.dumps({"terms": {"OnDemand": {"t": {"priceDimensions": {"d": dimension}}}}})


def pricing_api(*offers: str) -> Mock:
    """In place of the Pricing API's client."""
    api = Mock()
    api.get_paginator.return_value.paginate.return_value.search.return_value = list(offers)
    return api


def test_the_api_replaces_the_price_where_exactly_one_is_offered(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = pricing_api(offer(0.0), offer(0.55))
    monkeypatch.setattr(Account, "client", lambda *_: api)
    made = prices.record_prices(run, Account("us-east-1"))
    gpu = made.price("ec2.g4dn.xlarge")
    assert (gpu.usd, gpu.origin) == (0.55, "Pricing API")
    assert made.price("nat.hour").origin == "list price"
    filters = api.get_paginator().paginate.call_args.kwargs["Filters"]
    terms = {term["Field"]: term["Value"] for term in filters}
    assert terms["regionCode"] == "us-east-1" and terms["operatingSystem"] == "Linux"
    api = pricing_api(offer(0.5), offer(0.6))
    assert prices.query_instance_price(Account("us-east-1"), "g4dn.xlarge") is None


def test_an_api_that_refuses_leaves_the_table(
    run: Run, aws: Emulated, capsys: pytest.CaptureFixture[str]
) -> None:
    aws.faults.add(Fault(kind="denied", service="pricing"))
    made = prices.record_prices(run, aws.account)
    assert made.price("ec2.g4dn.xlarge").origin == "list price"
    assert "come from the table" in capsys.readouterr().out


def history(*points: tuple[int, str, float]) -> SpotHistory:
    made = tuple(
        SpotPoint(at=NOON.replace(hour=hour), zone=zone, instance_type="g", usd=usd)
        for hour, zone, usd in points
    )
    return SpotHistory(region="r", asked="2026-11-24T23:00:00Z", days=1, emulated=True, points=made)


def test_a_spot_price_holds_until_the_next_one_of_its_zone() -> None:
    market = history((8, "a", 0.20), (10, "b", 0.30), (13, "a", 0.26))
    assert market.price_at(NOON, "g", "a") == 0.20
    assert market.price_at(NOON, "g") == 0.30
    assert market.price_at(NOON.replace(hour=7), "g") is None
    assert market.price_at(NOON, "other") is None


def test_without_types_nothing_is_asked(run: Run, aws: Emulated) -> None:
    assert prices.record_spot_prices(run, aws.account, ()).points == () and not aws.calls
