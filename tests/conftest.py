"""Fixtures that several areas share."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from helpers import processes, programs
from helpers.profile import Profile
from helpers.rehearsal import registry
from helpers.run import Run

# A shell ignores Ctrl-C in what it starts in the background, and children inherit that; here
# children are interrupted on purpose.
signal.signal(signal.SIGINT, signal.default_int_handler)

# With xdist, a group of tests stays on one worker and shares its heavy servers. Every other file
# is a group of its own; the longest begin.
GROUPS = {
    "tests/test_workbook.py": "workbook",
    "tests/rehearsal/test_life.py": "life",
    "tests/infra/": "terraform",
    "tests/cloud/test_terraform": "terraform",
    "tests/serving/": "triton",
    "tests/telemetry/": "prometheus",
    "tests/rehearsal/": "emulator",
}


def group(nodeid: str) -> str:
    """The group that a test runs in."""
    file = nodeid.partition("::")[0]
    return next((name for start, name in GROUPS.items() if file.startswith(start)), file)


class GroupScheduling(LoadScopeScheduling):  # type: ignore[misc]
    """Keeps a group on one worker.

    `--dist loadgroup` would do, but with pytest 9.2 it has no effect (pytest-xdist#1386).
    """

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling:
    """Let xdist distribute groups instead of single tests."""
    return GroupScheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest groups."""
    first = list(dict.fromkeys(GROUPS.values()))
    items.sort(key=lambda item: [*first, group(item.nodeid)].index(group(item.nodeid)))


@pytest.fixture(scope="session")
def profile() -> Profile:
    """The smallest profile there is."""
    return Profile.load_named("quick")


@pytest.fixture
def run(tmp_path: Path, profile: Profile) -> Iterator[Run]:
    """A new run; whatever it starts is stopped."""
    made = Run.create(profile, tmp_path / "outputs")
    yield made
    processes.down(made)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small model repository."""
    version = tmp_path / "repository/m/1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(b"\x00weights" * 1000)
    (version.parent / "config.pbtxt").write_text("name: 'm'\n")
    return tmp_path / "repository"


@pytest.fixture
def needs_registry() -> None:
    """For tests that push an image."""
    if programs.find(registry.PROGRAM) is None:
        pytest.skip("no docker-registry: 'make setup' brings Debian's")
