"""Seeded faults are caught, each at its object and field; good objects are left alone."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import programs
from helpers.cluster import checks, contract, rendering
from helpers.cluster.checks import Setting
from helpers.cluster.findings import Finding
from helpers.cluster.manifest import parse
from helpers.profile import Profile
from helpers.run import Run

from .mutations import Fault, table

pytestmark = pytest.mark.skipif(programs.find("helm") is None, reason="there is no helm here")
LEAST_FAULTS, LEAST_SHARE = 50, 0.95
VALUES = {"gpu": "ci/gpu-values.yaml", "cpu": "values-cpu.yaml"}


@pytest.fixture(scope="module")
def setting(tmp_path_factory: pytest.TempPathFactory) -> Setting:
    profile = Profile.load_named("rehearsal")
    return checks.of_run(Run.create(profile, tmp_path_factory.mktemp("outputs")))


def rendered(setting: Setting, values: str) -> list[Any]:
    made = rendering.template(
        rendering.CHART,
        (contract.CONTRACT, rendering.CHART / values),
        release="triton",
        namespace=setting.contract.namespaces.triton,
        kubernetes=setting.kubernetes,
    )
    assert made.faults == ()
    return parse(made.manifest)


@pytest.fixture(scope="module")
def good(setting: Setting) -> list[Any]:
    return rendered(setting, VALUES["gpu"])


@pytest.fixture(scope="module")
def found(good: list[Any], setting: Setting) -> dict[str, tuple[Finding, ...]]:
    """Title of each fault → what the checks say once it is in the objects."""
    return {fault.title: checks.findings(fault.into(good), setting) for fault in table()}


def named(fault: Fault, findings: tuple[Finding, ...]) -> bool:
    """Whether a finding names the object and the field of a fault."""
    return any(
        one.object.split(" ")[0] == fault.object and one.field.startswith(fault.field)
        for one in findings
    )


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_the_good_chart_has_no_fault(setting: Setting, values: str) -> None:
    assert checks.findings(rendered(setting, values), setting) == ()


@pytest.mark.parametrize("fault", table(), ids=lambda fault: fault.title)
def test_a_fault_is_caught_at_its_field(
    fault: Fault, found: dict[str, tuple[Finding, ...]]
) -> None:
    assert named(fault, found[fault.title]), [str(one) for one in found[fault.title]]
    assert all(one.wrong and one.right for one in found[fault.title])


def test_the_suite_is_large_and_nearly_all_of_it_is_caught(
    found: dict[str, tuple[Finding, ...]],
) -> None:
    caught = [fault for fault in table() if named(fault, found[fault.title])]
    assert len(found) == len(table()) >= LEAST_FAULTS
    assert len(caught) >= LEAST_SHARE * len(found)


@pytest.mark.parametrize(
    ("setting_of_helm", "field", "right"),
    [
        ("imgae.digest=x", "imgae", "image"),
        ("strategy.maxSurg=1", "strategy.maxSurg", "maxSurge"),
        ("image.digest=latest", "image.digest", "sha256"),
        ("device=gpus", "device", "gpu"),
        ("resources.limits.memory=8GB", "resources.limits.memory", ""),
        ("modelRepository.source=gcs", "modelRepository.source", "s3"),
        ("strategy.maxSurge=0,strategy.maxUnavailable=0", "strategy.maxSurge", ""),
        ("shutdown.preStopSeconds=90", "shutdown.preStopSeconds", ""),
        ("image.digest=", "image.digest", ""),
    ],
)
def test_a_wrong_value_is_explained_with_the_value_that_is_right(
    setting: Setting, tmp_path: Path, setting_of_helm: str, field: str, right: str
) -> None:
    changed = tmp_path / "values.yaml"
    changed.write_text(_as_yaml(setting_of_helm))
    values = (contract.CONTRACT, rendering.CHART / VALUES["gpu"], changed)
    made = checks.rendered(rendering.CHART, values, setting, "gpu")
    assert made.objects is None
    assert {line.label for line in made.lines} == {"REAL"}
    found = [one for line in made.lines for one in line.findings]
    assert any(one.field == field and right in one.right for one in found), found


def _as_yaml(pairs: str) -> str:
    """`a.b=c,d.e=f` as nested YAML; both keys of one parent share it."""
    tree: dict[str, Any] = {}
    for pair in pairs.split(","):
        path, _, value = pair.partition("=")
        *parents, last = path.split(".")
        place = tree
        for step in parents:
            place = place.setdefault(step, {})
        place[last] = int(value) if value.isdigit() else value
    return yaml.safe_dump(tree)
