"""Secrets anywhere in a run are not exported."""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.evidence import html_export, page, redaction
from helpers.paths import ROOT
from helpers.profile import Profile
from helpers.run import Run

ACCOUNT = "210987" + "654321"
SECRETS = {
    "access key": "AKIA" + "ABCDEFGHIJKLMNOP",
    "secret key": "aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "zzzzzzzzzz",
    "session token": "AWS_SESSION_TOKEN=" + "IQoJb3JpZ2luX2VjE" * 4,
    "github token": "ghp_" + "a1B2" * 9,
    "grafana token": "glsa_" + "a1B2c3D4" * 4 + "_1a2b3c4d",
    "cluster token": "k8s-aws-v1." + "aHR0cHM6Ly9zdHMu" * 3,
    "json web token": "eyJhbGciOiJSUzI1NiIs" + ".eyJzdWIiOiJzeXN0ZW0" + ".c2lnbmF0dXJl",
    "bearer": "Authorization: Bearer " + "abcdef0123456789ABCDEF",
    "password in a URL": "https://admin:" + "hunter22" + "@grafana.example/api",
    "role": f"arn:aws:iam::{ACCOUNT}:role/deployer",
    "registry": f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/triton",
    "bucket": f"gpu-e2e-{ACCOUNT}-us-east-1",
    "private address": "10.42.3.7",
    "public address": "54.239.28.85",
    "node": "ip-10-42-3-7.ec2.internal",
    "endpoint": "https://" + "0123456789ABCDEF" * 2 + ".gr7.us-east-1.eks.amazonaws.com",
    "load balancer": "k8s-triton-1234567890.us-east-1.elb.amazonaws.com",
    "path": str(ROOT / "outputs"),
    "home": "/home/" + "nancy/.aws/credentials",
    "private key": "-----BEGIN RSA PRIVATE " + "KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
}
INNERMOST = {
    "secret key": "wJalrXUtnFEMI", "session token": "IQoJb3JpZ2lu", "bearer": "abcdef0123456789",
    "password in a URL": "hunter22", "role": ACCOUNT, "registry": ACCOUNT, "bucket": ACCOUNT,
    "endpoint": "0123456789ABCDEF", "home": "nancy", "private key": "MIIEow",
}  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_masked_and_its_neighbours_stay(name: str) -> None:
    text = redaction.redact(f"before {SECRETS[name]} after 127.0.0.1 at 14.9 ms")
    assert INNERMOST.get(name, SECRETS[name]) not in text
    assert text.startswith("before ") and text.endswith(" after 127.0.0.1 at 14.9 ms")
    assert redaction.find_secrets(text) == [] and redaction.redact(text) == text


@pytest.mark.parametrize("name", [name for name in SECRETS if name != "path"])
def test_the_scanner_finds_what_was_not_masked(name: str) -> None:
    assert redaction.find_secrets(f"before {SECRETS[name]} after")


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1:8000", "0.0.0.0/0", "203.0.113.7/32", "helm 4.1.4", "1,234,567 requests",
     "20261124T1028Z-rehearsal", "sha256:" + "0123456789abcdef" * 4, "g4dn.xlarge", "300.1.2.3"],
)  # fmt: skip
def test_what_is_harmless_stays(text: str) -> None:
    assert redaction.redact(text) == text
    assert redaction.find_secrets(text) == []


def test_words_of_the_run_itself_are_masked(run: Run) -> None:
    profile = Profile.load_named("quick", "infrastructure.alert_email=nancy@example.com")
    words = redaction.private_words(Run(run.folder, profile))
    assert "nancy@example.com" in words
    assert redaction.redact("to nancy@example.com", words) == "to [masked]"


def cells_with(secret: str) -> list[nbformat.NotebookNode]:
    """A secret in code, in a traceback, in printed text, in a table, and in prose."""
    trace = new_output("error", ename="Problem", evalue=secret, traceback=[f"Problem: {secret}"])
    table = {"text/html": f"<table><tr><td>{secret}</td></tr></table>"}
    shown = [new_output("stream", text=secret), new_output("execute_result", data=table)]
    return [
        new_code_cell(f"# Parameters\nkey = '''{secret}'''", outputs=[trace]),
        new_code_cell("x", outputs=shown),
        new_markdown_cell(f"It was `{secret}`."),
    ]


def test_no_part_of_a_notebook_lets_a_secret_out(run: Run) -> None:
    notebook = new_notebook(
        cells=[cell for secret in SECRETS.values() for cell in cells_with(secret)],
        metadata={"papermill": {"parameters": SECRETS}},
    )
    source = run.folder / "notebooks" / "00-setup.ipynb"
    source.parent.mkdir(exist_ok=True)
    nbformat.write(notebook, source)
    html_export.export_notebooks(run)
    pages = list((run.folder / "html").glob("*.html"))
    assert len(pages) == 2
    for path in pages:
        text = path.read_text()
        for name, secret in SECRETS.items():
            assert INNERMOST.get(name, secret) not in text, name
        assert redaction.find_secrets(text) == []
    assert page.has_no_secrets(run)


def test_a_pack_has_no_secrets(measured: Run) -> None:
    page.pack(measured)
    assert page.has_no_secrets(measured)
    measured.write("evidence/leak.json", SECRETS["role"])
    assert not page.has_no_secrets(measured)
