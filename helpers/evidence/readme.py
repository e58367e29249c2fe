"""Whether the README tells its story in order, with pictures that exist."""

import re

from helpers.paths import ROOT
from helpers.run import Record, Run

PARTS = ("Problem", "Architecture", "Run", "KPIs", "Cost", "Teardown")
_PICTURE = re.compile(r"!\[[^\]]+\]\((?P<path>[^)#]+)\)")


class Readme(Record, stage="07", name="readme"):
    """What the README holds.

    Attributes:
        parts: Its headings that belong to the story, in its order.
        pictures: The pictures it shows, relative to the checkout.
        missing: Those of them that do not exist.
    """

    parts: tuple[str, ...]
    pictures: tuple[str, ...]
    missing: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether every part is there, in order, and every picture exists."""
        return self.parts == PARTS and bool(self.pictures) and not self.missing

    @property
    def summary(self) -> str:
        """One sentence: what it tells."""
        told = f"{' → '.join(self.parts)}, with {len(self.pictures)} pictures"
        return told + (f"; missing: {', '.join(self.missing)}" if self.missing else "")


def check(run: Run) -> Readme:
    """Read the README of this checkout, and keep what was found with the run."""
    text = (ROOT / "README.md").read_text()
    headings = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    pictures = tuple(match["path"] for match in _PICTURE.finditer(text))
    found = Readme(
        parts=tuple(one for one in headings if one in PARTS),
        pictures=pictures,
        missing=tuple(one for one in pictures if not (ROOT / one).is_file()),
    )
    run.save(found)
    return found
