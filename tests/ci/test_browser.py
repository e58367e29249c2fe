"""The browser check finds faults in a page."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ci.test_rules import script

pytestmark = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="there is no Chromium with ChromeDriver here",
)
HEAD = '<!DOCTYPE html><html lang="en"><head><title>x</title></head><body><main><h1>x</h1>'


@pytest.fixture(scope="module")
def check() -> Any:
    """The check's module."""
    return script("browser")


@pytest.fixture(scope="module")
def driver(check: Any) -> Iterator[Any]:
    """A browser."""
    with check.browser() as opened:
        yield opened


@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        ("<p>fine</p>", ""),
        ('<a href="#there">x</a><p id="there">fine</p>', ""),
        ('<a href="gone.html">x</a>', "broken link: gone.html"),
        ('<a href="#nowhere">x</a>', "broken link: #nowhere"),
        ('<img src="gone.png" alt="a curve">', "broken picture: a curve"),
        ('<img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">', "no alternative text"),
        ('<p style="width:3000px">wide</p>', "scrolls sideways"),
        ("<script>throw new Error('planted')</script>", "console: "),
        ("<button></button>", "button-name"),
        ('<p style="color:#ccc">pale</p>', "color-contrast"),
    ],
)
def test_what_is_planted_is_found(
    check: Any, driver: Any, tmp_path: Path, planted: str, fault: str
) -> None:
    page = tmp_path / "page.html"
    page.write_text(HEAD + planted)
    faults = [*check.on_page(driver, page), *check.accessibility(driver, check.axe_core())]
    assert any(fault in sentence for sentence in faults) if fault else faults == []
