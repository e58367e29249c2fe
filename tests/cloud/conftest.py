"""A small stack in a run of its own, and an emulated account behind a server to make it in."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from helpers.cloud import terraform
from helpers.cloud.resource_kinds import Caller
from helpers.cloud.terraform import Provider, Workspace
from helpers.errors import Unavailable
from helpers.profile import Profile
from helpers.run import Run
from tests import emulated
from tests.emulated import Emulated, Emulator

from .seeds import Seeds

SMALL = Path(__file__).parent / "small"
MakeWorkspace = Callable[..., Workspace]


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with emulated.serving(tmp_path_factory.mktemp("aws")) as aws:
        yield aws


@pytest.fixture(scope="session")
def provider() -> Provider:
    """Where the provider is, asked once."""
    try:
        return terraform.find_provider()
    except Unavailable as reason:
        pytest.skip(str(reason))


@pytest.fixture
def make(
    tmp_path: Path, served: Emulator, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeWorkspace]:
    """Makes the workspace of a new run, whose code is a small stack's: `bare`, or in `aws`."""
    monkeypatch.setattr(terraform, "find_provider", lambda: provider)
    small = tmp_path / "checkout"
    (small / "k8s").mkdir(parents=True)
    (small / "k8s" / "contract.yaml").write_text("{}\n")
    monkeypatch.setattr(terraform, "ROOT", small)

    def new(
        stack: str = "bare",
        settings: str = "infrastructure.override_readiness=true",
        zones: int = 2,
    ) -> Workspace:
        for part in ("common", stack):
            shutil.copytree(SMALL / part, small / "infra", dirs_exist_ok=True)
        profile = Profile.load_named("quick", settings)
        chosen = profile.infrastructure.model_copy(update={"zones": zones})
        run = Run.create(
            profile.model_copy(update={"infrastructure": chosen}), tmp_path / "outputs"
        )
        return Workspace.for_run(run, served.account)

    yield new
    served.clear_faults()


@pytest.fixture
def aws() -> Iterator[Emulated]:
    """An empty account inside this process."""
    with emulated.installed() as made:
        yield made


@pytest.fixture
def caller(aws: Emulated) -> Caller:
    return Caller.identify(aws.account)


@pytest.fixture
def own(caller: Caller, run: Run) -> Seeds:
    """Makes what has this run's tag, and no name of ours."""
    return Seeds(caller, {"run": run.run_id}, "plain")
