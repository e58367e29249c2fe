"""Opens a run's evidence in a real browser, as on a phone, on a desktop and in print.

    python ci/browser.py [RUN]

Checks for console errors, broken links and pictures, sideways scrolling, and serious findings
of axe-core; and that the case study has one page with the figures. Needs Chromium and
ChromeDriver; axe-core comes from npm. Screenshots go to the run's folder `screenshots/`.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag

from pypdf import PdfReader
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from helpers.errors import Problem
from helpers.evidence import case_study, kpis, page
from helpers.paths import TOOLS
from helpers.run import Run, run_folders

AXE = "axe-core@4.14.1"
AXE_SHA512 = (
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)
SIZES = {"phone": (390, 844, True), "desktop": (1280, 900, False)}
SCHEMES = ("light", "dark")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--hide-scrollbars")  # fmt: skip
SERIOUS = ("serious", "critical")
# only our own pages must pass axe; nbconvert defines the layout of the exported notebooks
LINKS = "return [...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))"
PICTURES = """return [...document.images].filter(i => !(i.complete && i.naturalWidth))
    .map(i => i.alt || 'a picture without alternative text')"""
NAMELESS = "return [...document.images].filter(i => !i.alt).length"
SIDEWAYS = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
RUN_AXE = "const done = arguments[0]; axe.run().then(found => done(found.violations))"


def main() -> int:
    """Check every page; returns 1 if there is any fault."""
    run = Run.open(sys.argv[1] if len(sys.argv) > 1 else newest())
    faults = [*in_browser(run), *in_pdf(run)]
    print("\n".join(f"✘ {fault}" for fault in faults) or f"✔ {run.run_id} in a real browser")
    return bool(faults)


def newest() -> str:
    """The newest run that has evidence."""
    for folder in reversed(run_folders()):
        if (folder / page.INDEX).is_file():
            return folder.name
    raise Problem("No run has evidence yet.", "Run 'make rehearse' first.")


def in_browser(run: Run) -> Iterator[str]:
    """One sentence for each fault that a reader would see in a browser."""
    axe = axe_core()
    for name, (width, height, mobile) in SIZES.items():
        with browser() as driver:
            driver.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile},
            )
            for scheme in SCHEMES:
                where = f"{name}, {scheme}"
                emulate(driver, "screen", scheme)
                yield from (
                    f"{where}: {fault}" for fault in on_page(driver, run.folder / page.INDEX)
                )
                yield from (f"{where}: {fault}" for fault in accessibility(driver, axe))
                save_screenshot(driver, run, f"{name}-{scheme}")
            for other in sorted((run.folder / "html").glob("*.html")):
                yield from (f"{name}, {other.name}: {fault}" for fault in on_page(driver, other))
    with browser() as driver:
        emulate(driver, "print", "light")
        yield from (f"print: {fault}" for fault in on_page(driver, run.folder / page.INDEX))
        printed = driver.execute_cdp_cmd(
            "Page.printToPDF", {"paperWidth": 8.27, "paperHeight": 11.7}
        )
        path = run.write("screenshots/print.pdf", base64.b64decode(printed["data"]))
        if not PdfReader(path).pages:
            yield "print: there is no page"


def on_page(driver: Any, path: Path) -> Iterator[str]:
    """One sentence for each fault of one page."""
    driver.get(path.as_uri())
    for entry in driver.get_log("browser"):
        if entry["level"] == "SEVERE":
            yield f"console: {entry['message']}"
    for alt in driver.execute_script(PICTURES):
        yield f"broken picture: {alt}"
    if driver.execute_script(NAMELESS):
        yield "a picture has no alternative text"
    for href in driver.execute_script(LINKS):
        if not link_works(driver, path, href):
            yield f"broken link: {href}"
    over = driver.execute_script(SIDEWAYS)
    if over > 0:
        yield f"scrolls sideways by {over} pixels"


def link_works(driver: Any, path: Path, href: str) -> bool:
    """Whether a link leads to a file or to a place on the page; web links are not checked."""
    if "://" in href or href.startswith("mailto:"):
        return True
    target, fragment = urldefrag(href)
    if target:
        return (path.parent / unquote(target)).is_file()
    # as a browser does: the name as it is written, then decoded
    script = "return [...arguments].some(name => document.getElementById(name) !== null)"
    return not fragment or bool(driver.execute_script(script, fragment, unquote(fragment)))


def accessibility(driver: Any, axe: str) -> Iterator[str]:
    """The serious and critical findings of axe-core on the page that is open."""
    driver.execute_script(axe)
    for violation in driver.execute_async_script(RUN_AXE):
        if violation["impact"] in SERIOUS:
            first = violation["nodes"][0]["html"][:120]
            yield f"axe: {violation['id']}: {violation['help']}, {first}"


def in_pdf(run: Run) -> Iterator[str]:
    """One sentence for each fault of the case study: it has one page and all measured KPIs."""
    pages = PdfReader(run.folder / case_study.PDF).pages
    if len(pages) != 1:
        yield f"the case study has {len(pages)} pages"
    text = "".join(" ".join(sheet.extract_text() for sheet in pages).split())
    for kpi in run.load(kpis.Verdicts).kpis:
        wanted = "".join(kpi.measured_text.split())
        if kpi.measured is not None and wanted not in text:
            yield f"the case study does not say {kpi.measured_text}"


def emulate(driver: Any, media: str, scheme: str) -> None:
    """Emulate a medium and a colour scheme."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})


def save_screenshot(driver: Any, run: Run, name: str) -> None:
    """Save a screenshot of the whole page."""
    options = {"captureBeyondViewport": True}
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", options)
    run.write(f"screenshots/{name}.png", base64.b64decode(shot["data"]))


def browser() -> webdriver.Chrome:
    """A Chromium with a new profile and no network access.

    Raises:
        Problem: There is no Chromium or no ChromeDriver.
    """
    names = ("chromium", "google-chrome", "chromium-browser")
    program = next((found for name in names if (found := shutil.which(name))), None)
    chromedriver = shutil.which("chromedriver")
    if program is None or chromedriver is None:
        raise Problem(
            "There is no Chromium with ChromeDriver here.",
            "On Debian and Ubuntu: apt-get install chromium chromium-driver.",
        )
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=Service(chromedriver))


def axe_core() -> str:
    """The source of axe-core from npm; its digest is pinned.

    Raises:
        Problem: There is no npm, or the digest differs.
    """
    kept = TOOLS / "axe" / f"{AXE}.min.js"
    if not kept.is_file():
        npm = shutil.which("npm")
        if npm is None:
            raise Problem("There is no npm to fetch axe-core with.", "Install Node.js.")
        with tempfile.TemporaryDirectory() as folder:
            command = [npm, "pack", AXE, "--silent", "--pack-destination", folder]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            package = next(Path(folder).glob("*.tgz"))
            found = base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode()
            if found != AXE_SHA512:
                raise Problem(f"The digest of {AXE} from npm is not the pinned one.")
            with tarfile.open(package) as archive:
                member = archive.extractfile("package/axe.min.js")
                assert member is not None
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(member.read())
    return kept.read_text()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Problem as problem:
        sys.exit(str(problem))
