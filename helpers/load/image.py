"""The image of the load: what a worker needs of this package, and the same Python packages."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from helpers.cloud.account import Account
from helpers.cloud.reports import Stack
from helpers.errors import Problem
from helpers.load.swarm import LOCUSTFILE
from helpers.paths import ROOT
from helpers.run import Run
from helpers.serving import ecr

DOCKERFILE = ROOT / "helpers" / "load" / "Dockerfile"
REQUIREMENTS = ROOT / "requirements.txt"
IMPORT_S = 60
# both clients: the one of gRPC is loaded only where it is needed
LOADED = """
import sys
import helpers.load.grpc, helpers.load.worker
print(*(one.__file__ for name, one in sys.modules.items() if name.split(".")[0] == "helpers"),
      sep="\\n")
"""


def publish(run: Run, account: Account) -> str:
    """Build the image and push it beside Triton's, unless it is there; `repository@sha256:…`.

    Raises:
        Problem: Nothing here can build, or the build, the login or the push failed.
    """
    made = context(run.folder / "load-image")
    pushed = ecr.push(run.load(Stack), account, tag_of(made), DOCKERFILE, lambda: made)
    run.note(images=run.manifest().get("images", {}) | {"load": pushed.digest})
    return pushed.reference


def context(folder: Path) -> Path:
    """Make the build's context: modules that a worker loads, the locustfile, and the pins.

    Raises:
        Problem: A worker's modules cannot be loaded here.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for path in (*_modules(), ROOT / LOCUSTFILE, REQUIREMENTS):
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    return folder


def tag_of(folder: Path) -> str:
    """A tag that equal contexts share, so that nothing is pushed twice."""
    content = hashlib.sha256(DOCKERFILE.read_bytes())
    for path in sorted(one for one in folder.rglob("*") if one.is_file()):
        content.update(f"\n{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return f"load-{content.hexdigest()[:16]}"


def _modules() -> list[Path]:
    """The files of this package that a fresh worker has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", LOADED], cwd=ROOT, capture_output=True, text=True, timeout=IMPORT_S,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise Problem(f"A worker's modules cannot be loaded: {done.stderr.strip()[-300:]}.")
    return [Path(line) for line in done.stdout.split()]
