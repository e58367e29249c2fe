"""Each error of a cluster is recognised by the words its source prints, and explained."""

from pathlib import Path

import pytest
import yaml

from helpers.cluster import explain
from helpers.errors import Problem

TEXTS = yaml.safe_load(Path(__file__).with_name("messages.yaml").read_text())
CASES = [(rule, text) for rule, texts in TEXTS.items() for text in texts]


@pytest.mark.parametrize(("rule", "text"), CASES)
def test_an_error_is_recognised_by_what_its_source_prints(rule: str, text: str) -> None:
    explanation = explain.recognise(text, release="triton", namespace="triton")
    assert explanation is not None and explanation.name == rule and explanation.next_step
    assert explanation.what.endswith((".", ")")) or ":" in explanation.what


def test_the_explanation_names_what_the_text_named() -> None:
    (conflict, *_), (price, *_) = TEXTS["apply-conflict"], TEXTS["spot-price"]
    sentence = str(explain.recognise(conflict))
    assert (
        "kubectl-edit" in sentence
        and ".spec.template.spec.terminationGracePeriodSeconds" in sentence
    )
    assert "--force-conflicts" in sentence
    assert "0.1 $/h is offered, 0.2104 $/h" in str(explain.recognise(price))
    stuck = explain.recognise("STATUS: pending-upgrade", release="triton", namespace="apps")
    assert "helm -n apps rollback triton" in str(stuck)


def test_an_unknown_error_is_quoted_without_its_noise_and_not_guessed_at() -> None:
    text = "WARNING: old kubeconfig\nI1125 noise\nError: something entirely new happened"
    assert explain.recognise(text) is None
    assert str(explain.problem("The upgrade", text)) == (
        "The upgrade failed: Error: something entirely new happened. "
        "Correct that, and repeat the step."
    )
    assert len(str(explain.problem("x", "y" * 5000))) < 600


def test_what_may_pass_is_told_from_what_never_will() -> None:
    passing = explain.problem("The list of nodes", "dial tcp: connect: connection refused")
    assert isinstance(passing, explain.TransientError)
    final = explain.problem("The pods", 'nodes is forbidden: User "x" cannot list resource "y"')
    assert isinstance(final, Problem) and not isinstance(final, explain.TransientError)


def test_every_rule_has_a_name_of_its_own_and_is_tried() -> None:
    assert sorted(rule.name for rule in explain.rules()) == sorted(TEXTS)
