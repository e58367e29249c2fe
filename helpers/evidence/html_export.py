"""Executed notebooks and templates as HTML that loads nothing from elsewhere and has no secrets."""

import re
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

from helpers import promises
from helpers.evidence import redaction
from helpers.profile import LABEL
from helpers.run import Run

TEMPLATES = Path(__file__).parent / "templates"
# what a browser would load without a click; a link that a reader may click does not count
EXTERNAL_REQUEST = re.compile(
    r"""<(?:script|img|link|iframe|source|video|audio|embed|object)\b[^>]*?
        \b(?:src|href|data)\s*=\s*["']?(?:https?:)?//
      | @import\s+["']?(?:url\()?["']?(?:https?:)?//
      | \burl\(\s*["']?(?:https?:)?// | \bimport\s*\(?["']https?://""",
    re.VERBOSE | re.IGNORECASE,
)


def export_notebooks(run: Run) -> list[Path]:
    """Export each executed notebook that is newer than its page; returns the pages with code.

    `NN-name.plain.html` beside each page has no code.
    """
    pages = []
    for stage in promises.STAGES:
        source = run.folder / "notebooks" / stage.notebook
        if not source.is_file():
            continue
        page = run.folder / "html" / f"{source.stem}.html"
        if not page.is_file() or page.stat().st_mtime < source.stat().st_mtime:
            title = f"{stage.number} {stage.title}"
            for suffix, code in ((".html", True), (".plain.html", False)):
                run.write(f"html/{source.stem}{suffix}", _notebook_page(source, title, run, code))
        pages.append(page)
    return pages


def render(template: str, run: Run, **facts: Any) -> str:
    """Fill a template of this room with the facts of a run, and redact the result."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), undefined=jinja2.StrictUndefined,
        autoescape=jinja2.select_autoescape(["html.j2"]), trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    filled = environment.get_template(template).render(run=run, **facts)
    return redaction.redact(filled, redaction.private_words(run))


def external_requests(page: str) -> list[str]:
    """What a browser would load from elsewhere when the page is opened."""
    return [match.group() for match in EXTERNAL_REQUEST.finditer(page)]


def _notebook_page(source: Path, title: str, run: Run, code: bool) -> str:
    private = redaction.private_words(run)
    # before syntax colouring splits words apart, and again afterwards
    content = redaction.redact_all(nbformat.read(source, as_version=4), private)
    notebook = nbformat.from_dict(content)
    notebook.metadata["title"] = f"{title} · {run.run_id}"
    exporter = HTMLExporter(
        template_name="notebook", extra_template_basedirs=[str(TEMPLATES)], embed_images=True,
        exclude_input=not code, exclude_input_prompt=not code, exclude_output_prompt=not code,
    )  # fmt: skip
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)
    resources = {"run": run.run_id, "label": LABEL[run.profile.target]}
    body, _ = exporter.from_notebook_node(notebook, resources=resources)
    return redaction.redact(body, private)
