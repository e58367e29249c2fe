"""A dashboard's picture shows what its JSON says: units, limits, events, and what is absent."""

import json
import re
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from helpers.profile import Profile
from helpers.run import Run
from helpers.telemetry import board, dashboards, marks, pictures
from helpers.telemetry.answers import COLUMNS, Answers, Window
from helpers.telemetry.marks import Mark

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
WINDOW = Window(NOON, NOON + timedelta(seconds=60), 1.0)
LATENCY = board.read(dashboards.build(Profile.load_named("quick").kpis)["latency"])


def answers(values: dict[str, list[float | None]], note: str = "") -> Answers:
    """The first panel (P50) with these lines, one value a second; None where nothing was."""
    rows = [
        (NOON + timedelta(seconds=second), 1, "A", line, value)
        for line, found in values.items()
        for second, value in enumerate(found)
        if value is not None
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["time"] = pd.to_datetime(table["time"], utc=True)
    return Answers(LATENCY, WINDOW, table, note)


def texts(run: Run, name: str) -> list[str]:
    svg = (run.folder / "dashboards" / f"{name}.svg").read_text()
    return re.findall(r"<text[^>]*>([^<]*)<", svg)


def test_a_picture_has_units_limits_legend_and_note(run: Run) -> None:
    pictures.draw(run, "x", answers({"m": [1.0, 2.0, 6.0]}, "Made up"))
    shown = texts(run, "x")
    assert shown.count("ms") >= 1
    assert f"limit {run.profile.kpis.p50_ms:g}" in shown
    assert "m: mean 3.0 ms, max 6.0 ms, last 6.0 ms" in shown
    assert any("Every 1 s scraped" in one and one.endswith("Made up") for one in shown)
    assert "REHEARSAL" in shown
    assert (run.folder / "dashboards" / "x.png").read_bytes().startswith(b"\x89PNG")


def test_the_text_says_the_last_values_and_what_has_none(run: Run) -> None:
    alt = pictures.draw(run, "x", answers({"m": [1.0, 2.0]}))
    assert "P50 latency in Triton: 2.0 ms" in alt and "P95 latency in Triton: no value" in alt
    assert (run.folder / "dashboards" / "x.txt").read_text().strip() == alt


def test_a_panel_without_values_says_why(run: Run) -> None:
    pictures.draw(run, "x", answers({}))
    assert texts(run, "x").count("absent: Triton answered no request") >= 5


def test_a_line_breaks_where_nothing_was_scraped(run: Run) -> None:
    whole: list[float | None] = [1.0] * 40
    broken: list[float | None] = [1.0] * 10 + [None] * 20 + [1.0] * 10
    moves = []
    for name, line in (("whole", whole), ("broken", broken)):
        pictures.draw(run, name, answers({"m": line}))
        svg = (run.folder / "dashboards" / f"{name}.svg").read_text()
        paths = re.findall(r'<path d="([^"]*)" clip-path[^>]*stroke: #0072b2', svg)
        moves.append(sum(path.count("M") for path in paths))
    assert moves == [1, 2]


def test_events_are_numbered_lines_with_a_key(run: Run) -> None:
    happened = [
        Mark("load-start", NOON + timedelta(seconds=10), NOON + timedelta(seconds=50),
             "Load Test Start soak", "load engine"),
        Mark("alert", NOON + timedelta(seconds=20), None, "alert GpuHot", "Prometheus"),
        Mark("alert", NOON - timedelta(hours=1), None, "alert of before", "Prometheus"),
    ]  # fmt: skip
    pictures.draw(run, "x", answers({"m": [1.0, 2.0]}), happened)
    shown = texts(run, "x")
    assert "1  12:00:10  Load Test Start soak" in shown and "2  12:00:20  alert GpuHot" in shown
    assert not any("of before" in one for one in shown)
    assert shown.count("1") >= len(LATENCY.panels)  # the number stands on every panel


def test_more_lines_or_events_than_fit_are_counted(run: Run) -> None:
    many = [Mark("alert", NOON + timedelta(seconds=n), None, f"alert {n}", "") for n in range(30)]
    lines: dict[str, list[float | None]] = {f"m{n}": [1.0, 2.0] for n in range(9)}
    pictures.draw(run, "x", answers(lines), many)
    shown = texts(run, "x")
    assert "and 3 more" in shown
    assert any("30 events, 6 of them without a number" in one for one in shown)


@pytest.mark.parametrize(
    ("value", "unit", "decimals", "text"),
    [(1234.5, "1/s", None, "1,234 1/s"), (0.1234, "ms", None, "0.123 ms"), (5, "", 0, "5"),
     (12.34, "US$/h", 2, "12.34 US$/h"), (0.0, "%", None, "0.0 %")],
)  # fmt: skip
def test_values_have_the_digits_that_can_be_read(
    value: float, unit: str, decimals: int | None, text: str
) -> None:
    panel = board.Panel(1, "x", "y", "stat", unit, decimals, (0, 0, 6, 4), (), None)
    assert pictures.number(value, panel) == text


def test_a_large_figure_has_its_last_worst_value_and_the_colour_of_its_limit(run: Run) -> None:
    content = json.loads(dashboards.build(run.profile.kpis)["overview"])
    overview = board.read(json.dumps(content))
    panel = next(one for one in overview.panels if one.title == "P95 latency in Triton")
    for name, value, colour in (("slow", 1000.0, pictures.BAD), ("fast", 1.0, pictures.GOOD)):
        rows = [(NOON, panel.id, "A", line, one) for line, one in (("a", value), ("b", 0.5))]
        table = pd.DataFrame(rows, columns=COLUMNS)
        pictures.draw(run, name, Answers(overview, WINDOW, table))
        svg = (run.folder / "dashboards" / f"{name}.svg").read_text()
        assert re.search(rf'<text style="[^"]*fill: {colour}[^"]*"[^>]*>{value:,.1f} ms<', svg)


def test_marks_of_a_run_have_their_end_and_their_source(run: Run) -> None:
    run.event("load-start", "05", scenario="soak", at="2026-11-23T12:00:00.000Z")
    run.event("load-start", "05", scenario="spike", at="2026-11-23T12:01:00.000Z")
    run.event("load-stop", "05", scenario="soak", at="2026-11-23T12:02:00.000Z")
    run.event("service-started", service="x")
    run.event("scale-up", "05", source="Kubernetes", subject="Deployment triton",
              at="2026-11-23T11:59:00.000Z")  # fmt: skip
    found = {one.text: one for one in marks.of_run(run)}
    assert list(found) == ["scale-up Deployment triton", "Load Test Start soak",
                           "Load Test Start spike", "Load Test Stop soak"]  # fmt: skip
    assert found["Load Test Start soak"].until == NOON + timedelta(minutes=2)
    assert found["Load Test Start spike"].until is None  # it was killed
    assert found["scale-up Deployment triton"].source == "Kubernetes"
    late = marks.of_run(run, NOON + timedelta(seconds=90))
    assert {one.text for one in late} == {"Load Test Start soak", "Load Test Stop soak"}
