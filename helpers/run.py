"""A run is a folder: records, tables, events and ticks, written so that a kill loses nothing."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from helpers.errors import Problem
from helpers.paths import OUTPUTS, ROOT
from helpers.profile import Profile

if TYPE_CHECKING:  # slow to import, and a run without tables does without
    import pandas as pd


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
        """Where the record lies, relative to the run's folder."""
        return f"records/{cls.stage}/{cls.name}.json"


R = TypeVar("R", bound=Record)


def now() -> str:
    """The time in UTC, ISO 8601, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_atomically(path: Path, data: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(data.encode() if isinstance(data, str) else data)
    temporary.replace(path)


class Run:
    """One run's folder. Every stage adds facts to it; the evidence reads nothing else.

    Attributes:
        folder: `outputs/<run_id>`.
        profile: The choices the run was made with.
    """

    def __init__(self, folder: Path, profile: Profile) -> None:
        self.folder = folder
        self.profile = profile

    @property
    def run_id(self) -> str:
        """The folder's name: UTC time and profile."""
        return self.folder.name

    @property
    def mark(self) -> str:
        """What its processes carry in their environment: unique on this machine."""
        return str(self.folder.resolve())

    @classmethod
    def create(cls, profile: Profile, outputs: Path = OUTPUTS) -> Self:
        """Begin a run: a new folder with its profile and manifest."""
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%MZ}-{profile.name}"
        folder = _new_folder(outputs, stamp)
        run = cls(folder, profile)
        run.write("profile.yaml", profile.dump())
        run.write(
            "manifest.json",
            _pretty(
                {
                    "run_id": run.run_id,
                    "target": profile.target,
                    "profile": profile.name,
                    "profile_sha256": profile.digest(),
                    "started": now(),
                    "ended": None,
                    **_origin(),
                }
            ),
        )
        return run

    @classmethod
    def open(cls, run_id: str, outputs: Path = OUTPUTS) -> Self:
        """Open an existing run.

        Raises:
            Problem: There is no such run, or its profile cannot be read.
        """
        folder = outputs / run_id
        if not run_id or "/" in run_id or not (folder / "manifest.json").is_file():
            known = ", ".join(path.name for path in run_folders(outputs)[-3:]) or "none yet"
            raise Problem(f"Run '{run_id}' does not exist.", f"Newest runs: {known}.")
        return cls(folder, Profile.load_file(folder / "profile.yaml"))

    @classmethod
    def newest_open(cls, profile: str, outputs: Path = OUTPUTS) -> Self | None:
        """The newest run of a profile that has not ended, or None."""
        for folder in reversed(run_folders(outputs)):
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
        """What the run is: target, commit, versions, digests, start and end."""
        manifest: dict[str, Any] = _read_json(self.folder / "manifest.json")
        return manifest

    def note(self, **facts: Any) -> None:
        """Add facts to the manifest."""
        self.write("manifest.json", _pretty(self.manifest() | facts))

    def save(self, record: Record) -> Path:
        """Store a record at its place, replacing an earlier one."""
        return self.write(record.path(), record.model_dump_json(indent=2) + "\n")

    def load(self, kind: type[R]) -> R:
        """Read a record back.

        Raises:
            Problem: The run has no such record, or it does not fit this version's schema.
        """
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
                f"{error.error_count()} fields do not fit.",
                f"Run stage {kind.stage} again.",
            ) from error

    def find(self, kind: type[R]) -> R | None:
        """Read a record back, or None where the run has none."""
        return self.load(kind) if (self.folder / kind.path()).is_file() else None

    def readable(self, kind: type[R]) -> R | None:
        """Read a record back, or None also where it does not fit this version's schema."""
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
        """Read a table back; of a large one, only the columns that are needed.

        Raises:
            Problem: The run has no such table.
        """
        path = self.folder / "tables" / f"{name}.parquet"
        if not path.is_file():
            raise Problem(f"Run {self.run_id} has no table '{name}'.")
        import pandas as pd

        return pd.read_parquet(path, columns=columns)

    def event(self, kind: str, stage: str = "", **details: Any) -> None:
        """Append what happened, and when, to `events.jsonl`."""
        append_line(
            self.folder / "events.jsonl",
            json.dumps({"at": now(), "kind": kind, "stage": stage, **details}),
        )

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """What happened, oldest first; only events of `kind` where it is given."""
        happened = read_lines(self.folder / "events.jsonl")
        return [event for event in happened if kind in ("", event["kind"])]

    def end(self) -> None:
        """Close the run: it is not continued by default any more."""
        self.note(ended=now())


def run_folders(outputs: Path = OUTPUTS) -> list[Path]:
    """The folders of all runs, oldest first."""
    return sorted(path.parent for path in outputs.glob("*/manifest.json"))


def _new_folder(outputs: Path, stamp: str) -> Path:
    outputs.mkdir(parents=True, exist_ok=True)
    for suffix in ("", *(f"-{number}" for number in range(2, 100))):
        folder = outputs / f"{stamp}{suffix}"
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise Problem(f"{outputs} holds 99 runs of this minute.", "Remove some, or wait a minute.")


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError) as error:
        raise Problem(f"{path.name} of run {path.parent.name} cannot be read: {error}.") from error


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"


def append_line(path: Path, line: str) -> None:
    """Append one line in a single write, mending a torn last line first."""
    with path.open("ab+") as file:
        size = file.seek(0, os.SEEK_END)
        torn = False
        if size:
            file.seek(size - 1)
            torn = file.read(1) != b"\n"
        file.write(("\n" if torn else "").encode() + line.encode() + b"\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read a log of JSON lines; what a kill tore is left out."""
    if not path.is_file():
        return []
    return list(_whole_lines(path.read_text(errors="replace").splitlines()))


def _whole_lines(lines: list[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            value = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(value, dict):
            yield value


VERSIONS_OF = ("torch", "onnx", "onnxruntime", "tritonclient", "numpy", "pandas", "papermill")


def _origin() -> dict[str, Any]:
    """What a manifest says of it."""
    return {
        "git": _git_state(),
        "measured_by": measuring_code(),
        "machine": _machine(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in VERSIONS_OF},
    }


def _git_state() -> dict[str, Any]:
    def ask(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "clean": not ask("status", "--porcelain")}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "clean": None}


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30),
    }


def _processor() -> str:
    """The processor's name; Linux tells it in a file only."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown processor"


# what measures is fixed when a run begins; what draws, when its evidence is drawn
MEASURES = ("helpers/load", "helpers/serving", "model", "profiles/rehearsal.yaml")
DRAWS = ("helpers/evidence", "helpers/style.py")


def measuring_code() -> str:
    """SHA-256 of everything that decides about the figures of a rehearsal."""
    return _digest(MEASURES)


def drawing_code() -> str:
    """SHA-256 of everything that decides about its pictures and pages."""
    return _digest(DRAWS)


def _digest(places: tuple[str, ...]) -> str:
    total = hashlib.sha256()
    for path in _files(places):
        total.update(str(path.relative_to(ROOT)).encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def _files(places: tuple[str, ...]) -> Iterator[Path]:
    for place in places:
        path = ROOT / place
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (one for one in found if one.is_file() and "__pycache__" not in one.parts)
