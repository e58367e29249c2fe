"""Executed notebooks as HTML that asks nobody for anything and gives nothing away."""

import re
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from nbconvert import HTMLExporter
from nbconvert.preprocessors import CoalesceStreamsPreprocessor

from helpers import promises
from helpers.evidence import masking, pictures
from helpers.profile import LABEL
from helpers.run import Run

TEMPLATES = Path(__file__).parent / "templates"
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
    for stage in promises.STAGES:
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
    own = masking.own_words(run)
    # before colours split words apart, and once more after
    notebook = nbformat.from_dict(masking.masked(nbformat.read(source, as_version=4), own))
    pictures.shrink(notebook)
    notebook.metadata["title"] = f"{title} · {run.run_id}"
    exporter = HTMLExporter(
        template_name="notebook", extra_template_basedirs=[str(TEMPLATES)], embed_images=True,
        exclude_input=not code, exclude_input_prompt=not code, exclude_output_prompt=not code,
    )  # fmt: skip
    exporter.register_preprocessor(CoalesceStreamsPreprocessor, enabled=True)
    resources = {"run": run.run_id, "label": LABEL[run.profile.target]}
    body, _ = exporter.from_notebook_node(notebook, resources=resources)
    return masking.mask(body, own)


def render(template: str, run: Run, **facts: Any) -> str:
    """Fill a template of this room with the facts of a run, and mask what must not leave."""
    found = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template(template)
    return masking.mask(found.render(run=run, **facts), masking.own_words(run))


def requests_of(page: str) -> list[str]:
    """What a page would fetch from elsewhere when it is opened."""
    return [match.group() for match in REQUEST.finditer(page)]
