"""Dashboards with their data inside, as they stood at the end of a load.

Each is kept three times from the same values: as a page that opens without anything else (the
picture, its values as JSON and a table), as the body that Grafana's snapshot API takes, and as
pictures. The raw values of all of them are one table, `dashboards` (parquet, CSV and JSON).
"""

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from helpers.profile import LABEL
from helpers.run import Run
from helpers.telemetry import dashboards, marks, pictures, proof, series
from helpers.telemetry.answers import Answers, Window
from helpers.telemetry.board import Panel
from helpers.telemetry.marks import Mark
from helpers.telemetry.report import BoardSnapshot, Snapshots
from helpers.telemetry.server import Server

FOLDER = "snapshots"
TABLE = "dashboards"
TEMPLATES = Path(__file__).parent / "templates"
NO_DATA = {"type": "datasource", "uid": "grafana"}


def window_of(run: Run) -> Window:
    """The time of the run's load, with a margin on both sides.

    Raises:
        Problem: The run has no finished load.
    """
    start, end = series.window(run)
    return Window(start, end, run.profile.telemetry.scrape_interval_s)


def take_where_possible(run: Run, server: Server | None, gpu_absent: str) -> Snapshots:
    """As `take`, over the time of the load; where nobody watched, a record that says so.

    Args:
        run: The run.
        server: The Prometheus that watched; None where there was none.
        gpu_absent: Why no GPU was sampled; empty where one was.

    Raises:
        Problem: The run has no finished load, or Prometheus does not answer.
    """
    window = window_of(run)
    if server is None:
        start, end = window.start.isoformat(), window.end.isoformat()
        nothing = Snapshots(start=start, end=end, boards=(), events=0, absent=series.NO_PROMETHEUS)
        run.save(nothing)
        return nothing
    return take(run, server, window, note=f"No GPU: {gpu_absent}" if gpu_absent else "")


def take(run: Run, server: Server, window: Window, *, note: str = "") -> Snapshots:
    """Ask every dashboard over a time, and keep it as pages, pictures, bodies and a table.

    Args:
        run: The run.
        server: The Prometheus that watched.
        window: The time.
        note: What a reader must know of the data.

    Raises:
        Problem: Prometheus does not answer.
    """
    shown = marks.of_run(run, window.start, window.end)
    texts = dashboards.build(run.profile.kpis)
    found = proof.every(run, server, window, note=note)
    kept = [_keep(run, name, one, texts[name], shown) for name, one in found.items()]
    _table(run, found)
    taken = Snapshots(
        start=window.start.isoformat(timespec="seconds"),
        end=window.end.isoformat(timespec="seconds"),
        boards=tuple(kept),
        events=len(shown),
    )
    run.save(taken)
    return taken


def frame(taken: Snapshots) -> pd.DataFrame:
    """One row a dashboard, for people."""
    return pd.DataFrame(
        {"Dashboard": one.name, "Values": one.values, "Page": one.page, "For Grafana": one.grafana}
        for one in taken.boards
    )


def of_file(run: Run, one: BoardSnapshot) -> dict[str, Any]:
    """A dashboard with its data inside, as it was kept."""
    content: dict[str, Any] = json.loads((run.folder / one.grafana).read_text())
    return content


def body(run: Run, answers: Answers, text: str, shown: Sequence[Mark]) -> dict[str, Any]:
    """A dashboard with its data inside, as Grafana's snapshot API takes it.

    Args:
        run: The run.
        answers: The values.
        text: The dashboard's JSON.
        shown: The events on its time axes.
    """
    content: dict[str, Any] = json.loads(text)
    panels = {one.id: one for one in answers.board.panels}
    for panel in content["panels"]:
        panel["targets"] = []
        panel["datasource"] = NO_DATA
        panel["snapshotData"] = _frames(answers, panels[panel["id"]])
    content["templating"] = {"list": []}
    content["annotations"] = {"list": [_annotations(shown)]}
    start, end = answers.window.start, answers.window.end
    content["time"] = {"from": start.isoformat(), "to": end.isoformat()}
    content["refresh"] = ""
    content["title"] = f"{content['title']} · {run.run_id}"
    content["description"] = f"{LABEL[run.profile.target]} {answers.note}".strip()
    return content


def _keep(run: Run, name: str, answers: Answers, text: str, shown: Sequence[Mark]) -> BoardSnapshot:
    alt = pictures.draw(run, name, answers, shown, place=FOLDER)
    grafana = json.dumps(body(run, answers, text, shown), ensure_ascii=False)
    run.write(f"{FOLDER}/{name}.grafana.json", grafana + "\n")
    run.write(f"{FOLDER}/{name}.html", _page(run, name, answers, shown, alt))
    return BoardSnapshot(
        name=name,
        values=len(answers.table),
        page=f"{FOLDER}/{name}.html",
        grafana=f"{FOLDER}/{name}.grafana.json",
        picture=f"{FOLDER}/{name}.png",
    )


def _table(run: Run, found: dict[str, Answers]) -> None:
    """Every value of every dashboard as one table: parquet, CSV and JSON (one record a line)."""
    tables = []
    for name, answers in found.items():
        panels = {one.id: one for one in answers.board.panels}
        table = answers.table.assign(dashboard=name)
        table["unit"] = table["panel"].map({number: one.unit for number, one in panels.items()})
        table["panel"] = table["panel"].map({number: one.title for number, one in panels.items()})
        tables.append(table)
    whole = pd.concat(tables, ignore_index=True)
    whole = whole[["time", "dashboard", "panel", "line", "unit", "value"]]
    for column in ("dashboard", "panel", "line", "unit"):
        whole[column] = whole[column].astype("category")
    run.save_table(TABLE, whole)
    lines = whole.to_json(orient="records", lines=True, date_format="iso", date_unit="ms")
    run.write(f"tables/{TABLE}.jsonl", lines)


def _frames(answers: Answers, panel: Panel) -> list[dict[str, Any]]:
    """A panel's values as Grafana's data frames, one for each line."""
    rows = answers.of(panel)
    return [
        {
            "refId": str(query),
            "fields": [
                {"name": "Time", "type": "time", "config": {}, "values": _milliseconds(line)},
                {
                    "name": "Value",
                    "type": "number",
                    "config": {"displayNameFromDS": str(name)},
                    "values": line["value"].tolist(),
                },
            ],
        }
        for (query, name), line in rows.groupby(["query", "line"], observed=True)
    ]


def _milliseconds(line: pd.DataFrame) -> list[int]:
    times: list[int] = line["time"].dt.as_unit("ms").astype("int64").tolist()
    return times


def _annotations(shown: Sequence[Mark]) -> dict[str, Any]:
    """The events as Grafana keeps them inside a snapshot."""
    return {
        "name": "Events of the run",
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "iconColor": "purple",
        "snapshotData": [
            {
                "time": round(one.at.timestamp() * 1000),
                "timeEnd": round((one.until or one.at).timestamp() * 1000),
                "isRegion": one.until is not None,
                "text": one.text,
                "tags": [one.kind, *([one.source] if one.source else [])],
            }
            for one in shown
        ],
    }


def _page(run: Run, name: str, answers: Answers, shown: Sequence[Mark], alt: str) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    picture = (run.folder / FOLDER / f"{name}.png").read_bytes()
    return environment.get_template("snapshot.html.j2").render(
        run=run,
        label=LABEL[run.profile.target],
        answers=answers,
        marks=shown,
        alt=alt,
        picture=base64.b64encode(picture).decode(),
        panels=[(panel, _figures(panel, answers.of(panel))) for panel in answers.board.panels],
        data=_data(answers),
    )


def _figures(panel: Panel, rows: pd.DataFrame) -> list[tuple[str, ...]]:
    """Name, fewest, mean, most and last of each line of a panel."""
    return [
        (str(name), *(pictures.number(one, panel) for one in (
            line.min(), line.mean(), line.max(), line.iloc[-1])))
        for name, line in rows.groupby("line", observed=True)["value"]
    ]  # fmt: skip


def _data(answers: Answers) -> str:
    """Every value as JSON that may stand inside a page."""
    panels = {
        panel.title: {
            str(name): [_milliseconds(line), line["value"].tolist()]
            for name, line in answers.of(panel).groupby("line", observed=True)
        }
        for panel in answers.board.panels
    }
    return json.dumps(panels, ensure_ascii=False).replace("<", "\\u003c")
