"""The contract is read strictly, and nothing repeats what it says."""

import re
from pathlib import Path

import pytest
import yaml

from helpers.cluster import contract
from helpers.errors import Problem
from helpers.paths import ROOT

# places that must read the contract instead of repeating it
READERS = ("infra/**/*.tf", "k8s/charts/*/templates/**/*.*", "k8s/values/*.yaml", "helpers/**/*.py")
# facts, examples and promises, which are no choice of the contract
ALLOWED = (
    r"infra/bootstrap/variables\.tf: error_message",  # an example of how a type is written
    r"helpers/promises\.py: Promise\(",  # what was promised, word for word
    r"helpers/rehearsal/world\.py: ",  # AWS's spot prices
    r"helpers/serving/triton\.py: APIS =",  # where Triton listens inside NVIDIA's image
)


def test_the_contract_is_read_whole() -> None:
    agreed = contract.load()
    stored = yaml.safe_load(contract.CONTRACT.read_text())
    assert agreed.model_dump(mode="json", by_alias=True) == stored
    assert str(agreed.gpu.taint) == "{key}={value}:{effect}".format(**stored["gpu"]["taint"])


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


@pytest.mark.parametrize("place", READERS)
def test_nothing_repeats_the_contract(place: str) -> None:
    agreed = contract.load()
    taint, label = agreed.gpu.taint, agreed.gpu.label
    words = [agreed.gpu.resource, *agreed.gpu.instance_types, str(taint), str(label)]
    forms = [rf'{label.key}"?\s*[:=]\s*"?{label.value}', rf'key"?\s*[:=]\s*"?{taint.key}"?\b']
    ports = [rf"\b{number}\b" for number in agreed.ports.model_dump().values()]
    repeated = re.compile("|".join([*map(re.escape, words), *forms, *ports]))
    paths = sorted(path for path in ROOT.glob(place) if path.is_file() and not path.is_symlink())
    assert paths
    found = []
    for path in paths:
        text = re.sub(r'"""(.|\n)*?"""', "", path.read_text())  # docstrings and comments may
        lines = (re.sub(r"(^|\s)(#|//).*$", "", line) for line in text.splitlines())
        name = path.relative_to(ROOT)
        found += [f"{name}: {line.strip()}" for line in lines if repeated.search(line)]
    assert [line for line in found if not re.search("|".join(ALLOWED), line)] == []
