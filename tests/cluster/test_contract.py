"""The contract is read strictly, and nothing repeats what it says."""

import re
from pathlib import Path

import pytest
import yaml

from helpers.cluster import contract
from helpers.errors import Problem
from helpers.paths import ROOT

# places that must read the contract instead of repeating it
READERS = {
    "infra": ("*.tf",),
    "k8s/charts": ("templates/**/*.yaml", "templates/**/*.tpl"),
    "k8s/values": ("*.yaml",),
    "helpers": ("**/*.py",),
}


# Facts, examples and promises, which are no choice of the contract.
ALLOWED = (
    r"infra/bootstrap/variables\.tf: error_message",  # an example of how a type is written
    r"helpers/promises\.py: Promise\(",  # what was promised, word for word
    r"helpers/cluster/planned_nodes\.py: ",  # AWS's sizes
    r"helpers/rehearsal/world\.py: ",  # AWS's spot prices
    r"helpers/serving/triton\.py: APIS =",  # where Triton listens inside NVIDIA's image
)


def test_the_contract_is_read_whole() -> None:
    agreed = contract.load()
    stored = yaml.safe_load(contract.CONTRACT.read_text())
    assert agreed.model_dump(mode="json", by_alias=True) == stored
    assert str(agreed.gpu.taint) == "{key}={value}:{effect}".format(**stored["gpu"]["taint"])
    assert agreed.gpu.taint.toleration == {"operator": "Equal", **stored["gpu"]["taint"]}
    assert agreed.gpu.label.selector == {
        stored["gpu"]["label"]["key"]: stored["gpu"]["label"]["value"]
    }


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("NoSchedule", "NoShedule", "gpu.taint.effect"),
        ("perPod: 1", "perPod: 0", "gpu.perPod"),
        ("http: 8000", "http: 80000", "ports.http"),
        ("taint:", "taints:", "gpu.taint"),
        ("  load: load", "  load: Load Test", "namespaces.load"),
        ("  prefix:", "  prefixes:", "models.prefix"),
    ],
)
def test_a_wrong_contract_is_one_sentence(tmp_path: Path, old: str, new: str, what: str) -> None:
    text = contract.CONTRACT.read_text()
    assert old in text
    wrong = tmp_path / "contract.yaml"
    wrong.write_text(text.replace(old, new, 1))
    with pytest.raises(Problem, match=rf"contract.yaml is not valid: .*{re.escape(what)}"):
        contract.load(wrong)


def literals() -> list[str]:
    """What only the contract may say: forms that mean its values and nothing else."""
    agreed = contract.load()
    taint, label = agreed.gpu.taint, agreed.gpu.label
    names = [agreed.gpu.resource, *agreed.gpu.instance_types]
    pairs = [str(taint), str(label)]
    mappings = [rf'{label.key}"?\s*[:=]\s*"?{label.value}', rf'key"?\s*[:=]\s*"?{taint.key}"?\b']
    ports = [rf"\b{number}\b" for number in agreed.ports.model_dump().values()]
    return [*map(re.escape, names), *map(re.escape, pairs), *mappings, *ports]


def lines_of_code(path: Path) -> list[str]:
    """A file without comments, docstrings and examples."""
    text = re.sub(r'"""(.|\n)*?"""', "", path.read_text())
    return [re.sub(r"(^|\s)(#|//).*$", "", line) for line in text.splitlines()]


@pytest.mark.parametrize("folder", READERS)
def test_nothing_repeats_the_contract(folder: str) -> None:
    every = {path for pattern in READERS[folder] for path in (ROOT / folder).rglob(pattern)}
    paths = {path for path in every if not path.is_symlink()}
    assert paths
    pattern = re.compile("|".join(literals()))
    lines = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sorted(paths)
        for line in lines_of_code(path)
        if pattern.search(line)
    ]
    allowed = re.compile("|".join(ALLOWED))
    assert [line for line in lines if not allowed.search(line)] == []
