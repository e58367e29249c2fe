"""The load's image has what a worker loads, and no package that its Dockerfile does not name."""

import re
import shlex
from importlib.metadata import packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helpers.load import cluster_pool
from helpers.paths import ROOT
from helpers.serving import dockerfile
from tests.load.pods import loaded

OURS = canonicalize_name("gpu-e2e")


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cluster_pool.image_context(tmp_path_factory.mktemp("context") / "image")


def named() -> list[Requirement]:
    """What the Dockerfile installs."""
    text = cluster_pool.DOCKERFILE.read_text().replace("\\\n", " ")
    (line,) = re.findall(r"^RUN pip install (.+)$", text, re.MULTILINE)
    words = shlex.split(line)
    assert "--constraint requirements.txt" in line
    return [Requirement(one) for one in words if not one.startswith("-") and ".txt" not in one]


def closure(wanted: list[Requirement]) -> set[str]:
    """Names of distributions with all that they need."""
    found: set[str] = set()
    waiting = [(one.name, tuple(one.extras)) for one in wanted]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while waiting:
        name, extras = one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        found.add(canonicalize_name(name))
        for text in requires(name) or ():
            need = Requirement(text)
            if not need.marker or any(
                need.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            ):
                waiting.append((need.name, tuple(need.extras)))
    return found


def test_a_worker_loads_from_the_context_alone(context: Path) -> None:
    files = loaded(context)
    inside = {one for one in files.values() if one and context in Path(one).parents}
    assert {f for name, f in files.items() if name.split(".")[0] == "helpers"} <= inside
    assert not [one for one in files.values() if one and ROOT / "helpers" in Path(one).parents]


def test_what_it_loads_is_what_the_dockerfile_installs(context: Path) -> None:
    owners = packages_distributions()
    tops = {name.split(".")[0] for name in loaded(context)}
    # of a package of several distributions one is enough
    needed = [set(map(canonicalize_name, owners[top])) for top in tops if top in owners]
    installed = closure(named()) | {OURS}
    optional = {"ml-dtypes", "pysocks", "setuptools"}  # taken where they are, missed by nobody
    assert [one for one in needed if not one & installed and not one <= optional] == []


def test_equal_contexts_have_an_equal_tag(context: Path, tmp_path: Path) -> None:
    again = cluster_pool.image_context(tmp_path / "again")
    assert cluster_pool.image_tag(again) == cluster_pool.image_tag(context)
    (again / "helpers" / "errors.py").write_text("")
    assert cluster_pool.image_tag(again) != cluster_pool.image_tag(context)
    assert re.fullmatch(r"load-[0-9a-f]{16}", cluster_pool.image_tag(context))


def test_the_base_is_named_by_digest_and_nobody_is_root() -> None:
    assert "@sha256:" in dockerfile.base_of(cluster_pool.DOCKERFILE)
    assert "\nUSER 1000:1000\n" in cluster_pool.DOCKERFILE.read_text()
