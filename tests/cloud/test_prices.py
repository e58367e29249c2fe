"""Prices carry date and source, are rounded as AWS bills, and are never guessed."""

import json
from datetime import UTC, date, datetime
from typing import Any

import pytest

from helpers.cloud import prices
from helpers.cloud.account import Account
from helpers.cloud.prices import TABLES, Price, SpotHistory, SpotPoint
from helpers.errors import Problem
from helpers.run import Run
from tests import emulated

EVERY_RUN_NEEDS = ("eks.standard", "eks.extended", "nat.hour", "nat.gb", "ipv4.hour", "alb.hour",
                   "alb.lcu", "gp3.gb", "ecr.gb", "s3.gb", "transfer.out.gb", "cloudwatch.alarm",
                   "ec2.t3.large", "ec2.t3a.large", "ec2.g4dn.xlarge")  # fmt: skip
REGIONS = [one for path in TABLES.glob("*.json") for one in json.loads(path.read_text())["regions"]]
NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize("region", REGIONS)
def test_each_table_has_every_price_with_date_and_source(region: str) -> None:
    table = prices.load_table(region)
    for key in EVERY_RUN_NEEDS:
        price = table.price(key)
        assert price.usd > 0 and price.source.startswith("https://aws.amazon.com/")
        assert date.fromisoformat(price.checked) and price.label.startswith("list price of 2")


def test_a_region_without_table_is_refused_and_the_others_named() -> None:
    with pytest.raises(Problem, match=r"no prices for region 'ap-south-1'.*us-east-1"):
        prices.load_table("ap-south-1")


def test_a_price_that_is_not_known_is_refused() -> None:
    with pytest.raises(Problem, match=r"no price 'ec2\.p5\.48xlarge'"):
        prices.load_table("us-east-1").instance("p5.48xlarge")


def price(**facts: Any) -> Price:
    return Price(key="x", checked="2026-01-01", source="https://x", **facts)


def test_parts_of_an_hour_are_billed_as_the_service_does() -> None:
    assert price(usd=0.045, per="hour", whole=True).cost(1.2, 2) == pytest.approx(0.18)
    assert price(usd=0.5, per="hour").cost(1.2) == pytest.approx(0.6)
    assert price(usd=0.045, per="hour", whole=True).cost(3.0) == pytest.approx(0.135)
    assert price(usd=0.08, per="GB-month").cost(73, 100) == pytest.approx(0.8)


def test_what_is_billed_by_amount_has_no_price_an_hour() -> None:
    with pytest.raises(ValueError, match="not by time"):
        _ = price(usd=0.09, per="GB").per_hour


def test_a_rehearsal_takes_the_table_and_keeps_it(run: Run) -> None:
    table = prices.record_prices(run, Account("us-east-1", "http://127.0.0.1:1"))
    assert run.load(prices.PriceTable) == table
    assert {one.origin for one in table.prices.values()} == {"list price"}
    assert len(prices.frame(table)) == len(table.prices)


def offer(*usd: float) -> str:
    dimensions = {str(n): {"unit": "Hrs", "pricePerUnit": {"USD": str(one)}} for n, one in
                  enumerate(usd)}  # fmt: skip
    return json.dumps({"terms": {"OnDemand": {"t": {"priceDimensions": dimensions}}}})


class Answers:
    """In place of the Pricing API's paginator."""

    def __init__(self, *offers: str) -> None:
        self.offers = offers
        self.asked: list[dict[str, Any]] = []

    def get_paginator(self, _name: str) -> "Answers":
        return self

    def paginate(self, **asked: Any) -> list[dict[str, Any]]:
        self.asked.append(asked)
        return [{"PriceList": list(self.offers)}]


def test_the_api_replaces_the_price_where_exactly_one_is_offered(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Answers(offer(0.0), offer(0.55))
    monkeypatch.setattr(Account, "client", lambda *_: api)
    made = prices.record_prices(run, Account("us-east-1"))
    got = made.instance("g4dn.xlarge")
    assert (got.usd, got.origin) == (0.55, "Pricing API")
    assert made.price("nat.hour").origin == "list price"
    wanted = {one["Field"]: one["Value"] for one in api.asked[0]["Filters"]}
    assert wanted["regionCode"] == "us-east-1" and wanted["operatingSystem"] == "Linux"


def test_two_offers_are_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Account, "client", lambda *_: Answers(offer(0.5), offer(0.6)))
    assert prices.query_instance_price(Account("us-east-1"), "g4dn.xlarge") is None


def test_an_api_that_refuses_leaves_the_table(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with emulated.installed() as aws:
        aws.faults.add(emulated.Fault(kind="denied", service="pricing"))
        made = prices.record_prices(run, aws.account)
    assert made.instance("g4dn.xlarge").origin == "list price"
    assert "come from the table" in capsys.readouterr().out


def history(*points: tuple[int, str, float]) -> SpotHistory:
    made = tuple(
        SpotPoint(at=f"2026-11-24T{hour:02}:00:00Z", zone=zone, instance_type="g", usd=usd)
        for hour, zone, usd in points
    )
    return SpotHistory(region="r", asked="2026-11-24T23:00:00Z", days=1, emulated=True, points=made)


def test_a_spot_price_holds_until_the_next_one_of_its_zone() -> None:
    market = history((8, "a", 0.20), (10, "b", 0.30), (13, "a", 0.26))
    assert market.price_at(NOON, "g", "a") == 0.20
    assert market.price_at(NOON, "g") == 0.30
    assert (
        market.price_at(NOON.replace(hour=7), "g") is None
        and market.price_at(NOON, "other") is None
    )


def test_the_mean_weighs_each_price_by_how_long_it_held() -> None:
    market = history((8, "a", 0.20), (13, "a", 0.26))
    mean = market.mean(NOON, NOON.replace(hour=16), "g", "a")
    assert mean == pytest.approx((0.20 * 1 + 0.26 * 3) / 4)
    assert market.mean(NOON, NOON, "g") == 0.20


def test_without_types_nothing_is_asked() -> None:
    with emulated.installed() as aws:
        assert prices.query_spot_history(aws.account, ()).points == () and not aws.calls


def test_emulated_spot_prices_are_labelled() -> None:
    assert history((1, "a", 0.2)).source == "emulated spot price history of 2026-11-24"
