"""A run is a folder: records, tables, events and ticks, written so that a kill loses nothing."""

import contextlib
import hashlib
import itertools
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from helpers.errors import Problem
from helpers.paths import OUTPUTS, ROOT
from helpers.profile import Profile

if TYPE_CHECKING:  # slow to import, and a run without tables does not need it
    import pandas as pd

MANIFEST_LIBRARIES = (
    "torch", "onnx", "onnxruntime", "tritonclient", "numpy", "pandas", "papermill",
)  # fmt: skip
# the code that measures is fixed when a run begins; the code that draws, when evidence is drawn
MEASURES = ("helpers/load", "helpers/serving", "model", "profiles/rehearsal.yaml")
DRAWS = ("helpers/evidence", "helpers/style.py", "helpers/style.mplstyle",
         "helpers/telemetry/snapshots.py", "helpers/telemetry/catalogue.yaml")  # fmt: skip


class Record(BaseModel):
    """A fact of a run, stored as `records/<stage>/<name>.json`.

    A subclass names its place: `class Parity(Record, stage="03", name="parity")`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")
    stage: ClassVar[str]
    name: ClassVar[str]

    def __init_subclass__(cls, stage: str = "", name: str = "", **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if stage:
            cls.stage, cls.name = stage, name

    @classmethod
    def path(cls) -> str:
        """The record's file, relative to the run's folder."""
        return f"records/{cls.stage}/{cls.name}.json"


R = TypeVar("R", bound=Record)


class Run:
    """One run's folder. Every stage adds facts to it; the evidence reads nothing else."""

    def __init__(self, folder: Path, profile: Profile) -> None:
        self.folder = folder  # outputs/<run_id>
        self.profile = profile

    @property
    def run_id(self) -> str:
        """The folder's name: UTC time and profile."""
        return self.folder.name

    @property
    def mark(self) -> str:
        """The value that the run's processes carry in their environment; unique here."""
        return str(self.folder.resolve())

    @classmethod
    def create(cls, profile: Profile, outputs: Path = OUTPUTS) -> Self:
        """Begin a run: a new folder with its profile and manifest."""
        outputs.mkdir(parents=True, exist_ok=True)
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%MZ}-{profile.name}"
        folder = outputs / stamp
        for number in itertools.count(2):
            try:
                folder.mkdir()
                break
            except FileExistsError:
                folder = outputs / f"{stamp}-{number}"
        run = cls(folder, profile)
        run.write("profile.yaml", profile.dump())
        manifest = {
            "run_id": run.run_id,
            "target": profile.target,
            "profile": profile.name,
            "profile_sha256": profile.digest(),
            "started": now(),
            "ended": None,
            "git": _git_state(),
            "measured_by": code_digest(MEASURES),
            "machine": _machine(),
            "python": platform.python_version(),
            "versions": {name: metadata.version(name) for name in MANIFEST_LIBRARIES},
        }
        run.write("manifest.json", json.dumps(manifest, indent=2) + "\n")
        return run

    @classmethod
    def open(cls, run_id: str, outputs: Path = OUTPUTS) -> Self:
        """Open an existing run; a Problem if there is none, or its profile cannot be read."""
        folder = outputs / run_id
        if not run_id or "/" in run_id or not (folder / "manifest.json").is_file():
            known = ", ".join(path.name for path in run_folders(outputs)[-3:]) or "none yet"
            raise Problem(f"Run '{run_id}' does not exist.", f"Newest runs: {known}.")
        return cls(folder, Profile.load_file(folder / "profile.yaml"))

    @classmethod
    def newest_open(cls, profile: str, outputs: Path = OUTPUTS) -> Self | None:
        """The newest run of a profile that has not ended, or None."""
        for folder in reversed(run_folders(outputs)):
            with contextlib.suppress(Problem):  # an unreadable run does not hide the others
                run = cls.open(folder.name, outputs)
                if run.profile.name == profile and run.manifest()["ended"] is None:
                    return run
        return None

    def write(self, relative: str, data: str | bytes) -> Path:
        """Write one file of the run atomically and return its path."""
        path = self.folder / relative
        write_atomically(path, data)
        return path

    def manifest(self) -> dict[str, Any]:
        """The run's target, commit, versions, digests, start and end."""
        try:
            manifest: dict[str, Any] = json.loads((self.folder / "manifest.json").read_text())
        except (OSError, json.JSONDecodeError) as error:
            raise Problem(f"manifest.json of run {self.run_id} cannot be read: {error}.") from error
        return manifest

    def note(self, **facts: Any) -> None:
        """Add facts to the manifest."""
        self.write("manifest.json", json.dumps(self.manifest() | facts, indent=2) + "\n")

    def end(self) -> None:
        """Close the run: it is not continued by default any more."""
        self.note(ended=now())

    def save(self, record: R) -> R:
        """Store a record in its file, replacing an earlier one, and return it."""
        self.write(record.path(), record.model_dump_json(indent=2) + "\n")
        return record

    def load(self, kind: type[R]) -> R:
        """Read a record back; a Problem if it is missing or does not match this version."""
        path = self.folder / kind.path()
        if not path.is_file():
            raise Problem(
                f"Run {self.run_id} has no {kind.path()}.", f"Run stage {kind.stage} first."
            )
        try:
            return kind.model_validate_json(path.read_text())
        except ValidationError as error:
            raise Problem(
                f"{kind.path()} of run {self.run_id} cannot be read: "
                f"{error.error_count()} fields do not match.",
                f"Run stage {kind.stage} again.",
            ) from error

    def find(self, kind: type[R]) -> R | None:
        """Read a record back, or None if the run has none."""
        return self.load(kind) if (self.folder / kind.path()).is_file() else None

    def readable(self, kind: type[R]) -> R | None:
        """Read a record back, or None if it is missing or does not match this version's schema."""
        try:
            return self.find(kind)
        except Problem:
            return None

    def save_table(self, name: str, frame: "pd.DataFrame") -> Path:
        """Store a table as `tables/<name>.parquet`, and as CSV beside it."""
        path = self.folder / "tables" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.tmp")
        frame.to_parquet(temporary, index=False)
        temporary.replace(path)
        self.write(f"tables/{name}.csv", frame.to_csv(index=False))
        return path

    def load_table(self, name: str, columns: list[str] | None = None) -> "pd.DataFrame":
        """Read a table (or some columns of it) back; a Problem if the run has none."""
        path = self.folder / "tables" / f"{name}.parquet"
        if not path.is_file():
            raise Problem(f"Run {self.run_id} has no table '{name}'.")
        import pandas as pd

        return pd.read_parquet(path, columns=columns)

    def event(self, kind: str, stage: str = "", **details: Any) -> None:
        """Append an event, with the time, to `events.jsonl`."""
        event = {"at": now(), "kind": kind, "stage": stage, **details}
        append_line(self.folder / "events.jsonl", json.dumps(event))

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """The run's events, oldest first; only those of one kind if it is given."""
        events = read_lines(self.folder / "events.jsonl")
        return [event for event in events if kind in ("", event["kind"])]


def run_folders(outputs: Path = OUTPUTS) -> list[Path]:
    """The folders of all runs, oldest first."""
    return sorted(path.parent for path in outputs.glob("*/manifest.json"))


def now() -> str:
    """The time, as `iso` writes it."""
    return iso(datetime.now(UTC))


def iso(moment: datetime) -> str:
    """A time in UTC, ISO 8601, milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_atomically(path: Path, data: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data.encode() if isinstance(data, str) else data)
    temporary.replace(path)


def append_line(path: Path, line: str) -> None:
    """Append one line in a single write; a torn last line is ended first."""
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        torn = file.read(1) not in (b"", b"\n")
        file.write(b"\n" * torn + line.encode() + b"\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a log of JSON lines; a line that a kill has torn is left out."""
    values = []
    for line in path.read_text(errors="replace").splitlines() if path.is_file() else ():
        with contextlib.suppress(json.JSONDecodeError):
            values.append(json.loads(line))
    return [value for value in values if isinstance(value, dict)]


def code_digest(places: tuple[str, ...]) -> str:
    """SHA-256 of all files of these places: of `MEASURES` or `DRAWS`."""
    digest = hashlib.sha256()
    for place in places:
        path = ROOT / place
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(str(file.relative_to(ROOT)).encode())
                digest.update(file.read_bytes())
    return digest.hexdigest()


def _git_state() -> dict[str, Any]:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "clean": not git("status", "--porcelain")}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "clean": None}


def _machine() -> dict[str, Any]:
    try:  # only this file has the processor's name on Linux
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": names[0] if names else platform.processor() or "unknown processor",
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
    }
