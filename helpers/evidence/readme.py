"""Checks that the README has its sections in order, and that its pictures exist."""

import re

from helpers.paths import ROOT
from helpers.run import Record, Run

SECTIONS = ("Problem", "Architecture", "Run", "KPIs", "Cost", "Teardown")
_PICTURE = re.compile(r"!\[[^\]]+\]\((?P<path>[^)#]+)\)")


class Readme(Record, stage="07", name="readme"):
    """What the README contains."""

    parts: tuple[str, ...]  # headings that are expected, in the README's order
    pictures: tuple[str, ...]  # relative to the checkout
    missing: tuple[str, ...]  # pictures that do not exist

    @property
    def is_complete(self) -> bool:
        """Whether every section is there, in order, and every picture exists."""
        return self.parts == SECTIONS and bool(self.pictures) and not self.missing

    @property
    def summary(self) -> str:
        """One sentence: its sections and pictures."""
        contents = f"{' → '.join(self.parts)}, with {len(self.pictures)} pictures"
        return contents + (f"; missing: {', '.join(self.missing)}" if self.missing else "")


def check(run: Run) -> Readme:
    """Read the README of this checkout, and save the result with the run."""
    text = (ROOT / "README.md").read_text()
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    pictures = tuple(match["path"] for match in _PICTURE.finditer(text))
    readme = Readme(
        parts=tuple(heading for heading in headings if heading in SECTIONS),
        pictures=pictures,
        missing=tuple(path for path in pictures if not (ROOT / path).is_file()),
    )
    return run.save(readme)
