"""Executed notebooks as HTML that asks nobody for anything and gives nothing away."""

import re
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

from helpers import checklist
from helpers.paths import ROOT
from helpers.profile import LABEL
from helpers.run import Run

TEMPLATES = Path(__file__).parent / "templates"
MASKS = (
    (re.compile(re.escape(str(ROOT))), "."),
    (re.compile(re.escape(str(Path.home())) + r"(?=/)"), "~"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "[access key]"),
    (re.compile(r"(?<=:)\d{12}(?=:)|\b\d{12}(?=\.dkr\.ecr)"), "[account]"),
    (re.compile(r"\b(?:10(?:\.\d{1,3}){3}|192\.168(?:\.\d{1,3}){2})\b"), "[private address]"),
)
# what a browser would fetch by itself; a link that a reader may click is none
REQUEST = re.compile(
    r"""<(?:script|img|link|iframe|source|video|audio|embed|object)\b[^>]*?
        \b(?:src|href|data)\s*=\s*["']?(?:https?:)?//
      | @import\s+["']?(?:url\()?["']?(?:https?:)?//
      | \burl\(\s*["']?(?:https?:)?// | \bimport\s*\(?["']https?://""",
    re.VERBOSE | re.IGNORECASE,
)


def notebooks(run: Run) -> list[Path]:
    """Export every executed notebook that is newer than its page, with and without its code.

    Returns:
        The pages with code; `NN-name.plain.html` beside each has none.
    """
    pages = []
    for stage in checklist.STAGES:
        source = run.folder / "notebooks" / stage.notebook
        if not source.is_file():
            continue
        page = run.folder / "html" / f"{source.stem}.html"
        if not page.is_file() or page.stat().st_mtime < source.stat().st_mtime:
            title = f"{stage.number} {stage.title}"
            for ending, code in ((".html", True), (".plain.html", False)):
                run.write(f"html/{source.stem}{ending}", to_html(source, title, run, code=code))
        pages.append(page)
    return pages


def to_html(source: Path, title: str, run: Run, *, code: bool = True) -> str:
    """One executed notebook as a page of its own, with or without its code."""
    notebook = nbformat.read(source, as_version=4)
    notebook.metadata["title"] = f"{title} · {run.run_id}"
    exporter = HTMLExporter(
        template_name="notebook", extra_template_basedirs=[str(TEMPLATES)], embed_images=True,
        exclude_input=not code, exclude_input_prompt=not code, exclude_output_prompt=not code,
    )  # fmt: skip
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)
    resources = {"run": run.run_id, "label": LABEL[run.profile.target]}
    body, _ = exporter.from_notebook_node(notebook, resources=resources)
    return mask(body)


def render(template: str, **facts: Any) -> str:
    """Fill a template of this room, and mask what must not leave the machine."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(template)
    return mask(found.render(**facts))


def mask(text: str) -> str:
    """Replace paths of this machine, keys, account ids and private addresses.

    >>> mask("arn:aws:iam::123456789012:role/x")
    'arn:aws:iam::[account]:role/x'
    """
    for pattern, word in MASKS:
        text = pattern.sub(word, text)
    return text


def requests_of(page: str) -> list[str]:
    """What a page would fetch from elsewhere when it is opened."""
    return [match.group() for match in REQUEST.finditer(page)]
