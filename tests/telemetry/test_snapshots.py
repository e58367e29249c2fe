"""A dashboard's picture shows units, limits, events, and what is absent."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from PIL import Image, ImageOps

from helpers.profile import Profile
from helpers.run import Run
from helpers.telemetry import dashboards, snapshots
from helpers.telemetry.annotations import Annotation, run_annotations
from helpers.telemetry.catalogue import SERIES, Series
from helpers.telemetry.series import COLUMNS, Window
from helpers.telemetry.snapshots import DashboardData

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
WINDOW = Window(NOON, NOON + timedelta(seconds=60), 1.0)
BOARDS = {board.name: board for board in dashboards.build(Profile.load_named("quick").kpis)}


def data(
    lines: dict[str, list[float | None]],
    note: str = "",
    name: str = "latency",
    series: Series = SERIES["latency_p50"],
) -> DashboardData:
    """Two panels with lines of one series, one value a second; None for a missing scrape."""
    rows = [
        (NOON + timedelta(seconds=second), series.name, label, value)
        for label, values in lines.items()
        for second, value in enumerate(values)
        if value is not None
    ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    table["time"] = pd.to_datetime(table["time"], utc=True)
    shown = {series, SERIES["latency_p95"]}
    panels = tuple(panel for panel in BOARDS[name].panels if shown & set(panel.series))
    return DashboardData(replace(BOARDS[name], panels=panels), WINDOW, table, note)


def svg(run: Run, shown: DashboardData, annotations: tuple[Annotation, ...] = ()) -> str:
    snapshots.draw(run, replace(shown, annotations=annotations), folder="x")
    return (run.folder / "x" / f"{shown.board.name}.svg").read_text()


def texts(picture: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)<", picture)


def test_a_picture_has_units_limits_legend_and_note(run: Run) -> None:
    shown = texts(svg(run, data({"m": [1.0, 2.0, 6.0]}, "Made up")))
    assert "ms" in shown
    assert f"limit {run.profile.kpis.p50_ms:g}" in shown
    assert "m: mean 3 ms, max 6 ms, last 6 ms" in shown
    assert any("Scraped every 1 s" in text and text.endswith("Made up") for text in shown)
    assert "REHEARSAL" in shown
    assert "Not drawn: P95 latency in Triton (Triton answered no request)." in shown
    alt = (run.folder / "x" / "latency.txt").read_text()
    assert "P50 latency in Triton: 6 ms" in alt and "P95 latency in Triton: no value" in alt
    with Image.open(run.folder / "x" / "latency.png") as picture:
        drawn = ImageOps.invert(picture.convert("L")).getbbox()
        assert drawn and drawn[2] > 0.95 * picture.width and drawn[1] < 0.05 * picture.height


def test_a_line_breaks_where_nothing_was_scraped(run: Run) -> None:
    lines = []
    for missing in (1.0, None):
        picture = svg(run, data({"m": [1.0] * 10 + [missing] * 20 + [1.0] * 10}))
        paths = re.findall(r'<path d="([^"]*)" clip-path[^>]*stroke: #0072b2', picture)
        lines.append(sum(path.count("M") for path in paths))
    assert lines == [1, 2]


def test_more_lines_or_events_than_fit_are_counted(run: Run) -> None:
    many = tuple(
        Annotation("alert", NOON + timedelta(seconds=n), None, f"alert {n}", "") for n in range(30)
    )
    lines: dict[str, list[float | None]] = {f"m{n}": [1.0, 2.0] for n in range(9)}
    shown = texts(svg(run, data(lines), many))
    assert "and 3 more" in shown
    assert "1  12:00:00  alert 0" in shown and "24  12:00:23  alert 23" in shown
    assert shown.count("24") == 1
    assert any("30 events, 6 without a number" in text for text in shown)


def test_what_shows_nothing_is_named_and_not_drawn(run: Run) -> None:
    overview = data({"m": [0.0, 0.0]}, name="overview", series=SERIES["latency_p95"])
    assert "Not drawn: P95 latency in Triton (always 0)." in texts(svg(run, overview))
    nothing: list[list[float | None]] = [[0.0, 0.0], []]
    for values in nothing:
        assert snapshots.draw(run, data({"m": values}), folder="x") == ""
    assert not (run.folder / "x" / "latency.svg").exists()


@pytest.mark.parametrize(
    ("value", "text", "colour"), [(1000.0, "1,000", snapshots.BAD), (1.0, "1", snapshots.GOOD)]
)
def test_a_large_figure_is_the_worst_line_in_the_colour_of_its_limit(
    run: Run, value: float, text: str, colour: str
) -> None:
    shown = data({"a": [value], "b": [0.5]}, name="overview", series=SERIES["latency_p95"])
    pattern = rf'<text style="[^"]*fill: {colour}[^"]*"[^>]*>{text} ms<'
    assert re.search(pattern, svg(run, shown))


def test_annotations_of_a_run_have_their_end_and_their_source(run: Run) -> None:
    run.event("load-start", "05", scenario="soak", at="2026-11-23T12:00:00.000Z")
    run.event("load-start", "05", scenario="spike", at="2026-11-23T12:01:00.000Z")
    run.event("load-stop", "05", scenario="soak", at="2026-11-23T12:02:00.000Z")
    run.event("service-started", service="x")
    run.event("scale-up", "05", source="Kubernetes", subject="Deployment triton",
              at="2026-11-23T11:59:00.000Z")  # fmt: skip
    by_text = {event.text: event for event in run_annotations(run)}
    assert list(by_text) == ["scale-up Deployment triton", "Load Test Start soak",
                             "Load Test Start spike", "Load Test Stop soak"]  # fmt: skip
    assert by_text["Load Test Start soak"].until == NOON + timedelta(minutes=2)
    assert by_text["Load Test Start spike"].until is None  # it was killed
    assert by_text["scale-up Deployment triton"].source == "Kubernetes"
    late = run_annotations(run, NOON + timedelta(seconds=90))
    assert {event.text for event in late} == {"Load Test Start soak", "Load Test Stop soak"}
