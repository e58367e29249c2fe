"""A profile is validated before anything starts; errors are one sentence."""

from pathlib import Path

import pytest
import yaml

from helpers import profile as profiles
from helpers.errors import Problem
from helpers.paths import PROFILES
from helpers.profile import Profile

STEADY = "load.scenarios.soak.phases.steady"


@pytest.mark.parametrize("name", profiles.names())
def test_every_profile_is_valid_and_has_the_promised_tags(name: str) -> None:
    profile = Profile.load_named(name)
    assert profile.name == name
    assert profile.tags == {"project": "gpu-e2e", "owner": "Nancy"}
    assert set(yaml.safe_load((PROFILES / f"{name}.yaml").read_text())) == set(Profile.model_fields)


def test_settings_change_what_they_name_and_nothing_else() -> None:
    plain = Profile.load_named("rehearsal").model_dump()
    changed = Profile.load_named("rehearsal", f"{STEADY}.rate=7.5, model.seed=3").model_dump()
    assert changed["model"]["seed"] == 3
    assert changed["load"]["scenarios"][2]["phases"][1]["rate"] == 7.5
    assert changed | {"model": plain["model"], "load": plain["load"]} == plain
    by_number = Profile.load_named("rehearsal", "load.scenarios.0.seed=9")
    assert by_number.load.scenarios[0].seed == 9


@pytest.mark.parametrize(
    ("name", "settings", "sentence"),
    [
        ("moon", "", "Profile 'moon' does not exist"),
        ("../rehearsal", "", "does not exist"),
        ("rehearsal", "model.colour=red", "model.colour: unknown key"),
        ("rehearsal", "colour=red", "colour: unknown key"),
        ("rehearsal", "sky.colour=red", "there is no 'sky'"),
        ("rehearsal", "model.seed", "has no value"),
        ("rehearsal", f"{STEADY}.rate=-5", "greater than 0 (it is -5)"),
        ("rehearsal", f"{STEADY}.rate=.nan", "rate"),
        ("rehearsal", f"{STEADY}.rate=1e9", "less than or equal to 100000"),
        ("rehearsal", f"{STEADY}.rate='[1,2]'", "not valid YAML"),
        ("rehearsal", f"{STEADY}.rate=[1]", "valid number"),
        ("rehearsal", "load.scenarios.soak.batch=33", "max_batch_size is 32"),
        ("rehearsal", "load.scenarios.soak.model=bert", "uses model 'bert'"),
        ("rehearsal", "load.scenarios.soak.name=smoke", "scenario names repeat"),
        ("rehearsal", "kpis.scenario=nap", "kpis.scenario is 'nap'"),
        ("rehearsal", "load.scenarios.soak=1", "replaces a whole list item"),
        ("rehearsal", "serving.http_port=70000", "http_port"),
        ("rehearsal", "load.control=cluster", "only target aws has a cluster"),
        ("aws", "load.scenarios.spike.protocol=https", "uses https, which"),
        ("a: b: c", "", "Profile 'mine' is not valid YAML: mapping values are not allowed here"),
        ("- a", "", "Profile 'mine' is empty or not a mapping"),
        ("zones: [a, b]", "zones.c.d=1", "there is no 'c'"),
        ("zones: [a, b]", "zones.0.d=1", "there is no '0'"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, settings: str, sentence: str
) -> None:
    if " " in name:  # the content of a profile
        (tmp_path / "mine.yaml").write_text(name)
        monkeypatch.setattr(profiles, "PROFILES", tmp_path)
        name = "mine"
    with pytest.raises(Problem) as caught:
        Profile.load_named(name, settings)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_system_nodes_hold_every_worker_of_a_load_in_the_cluster() -> None:
    settings = "load.scenarios.smoke.workers=9, load.scenarios.spike.workers={}"
    for workers, most in ((1, 3), (2, 3), (3, 4), (8, 9)):
        profile = Profile.load_named("aws", settings.format(workers))
        assert profile.system_nodes == {"min": 1, "desired": 2, "max": most}
    assert Profile.load_named("rehearsal").system_nodes["max"] == 3


def test_a_stored_profile_reads_back_equal(tmp_path: Path) -> None:
    chosen = Profile.load_named("aws", "load.control=embedded")
    path = tmp_path / "profile.yaml"
    path.write_text(chosen.dump())
    assert Profile.load_file(path) == chosen
    assert Profile.load_file(path).digest() == chosen.digest()
    assert Profile.load_named("aws").digest() != chosen.digest()
