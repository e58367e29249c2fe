"""The token is what `aws eks get-token` makes; the file holds no secret; clients renew it."""

import base64
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import sh

from helpers import programs
from helpers.cloud.account import Account, session
from helpers.cluster import client, kubeconfig
from helpers.cluster.client import Cluster
from helpers.errors import Problem, Unavailable
from helpers.run import Run

from . import scenes
from .api_server import Server

needs_kubectl = pytest.mark.skipif(programs.find("kubectl") is None, reason="no kubectl here")


@pytest.fixture
def fixed_token() -> None:
    """The real kubeconfig, whose token is signed."""


def test_a_token_is_a_presigned_question_who_am_i_that_names_the_cluster(account: Account) -> None:
    made = kubeconfig.token(account, "gpu-e2e")
    prefix, encoded = made.value[: len(kubeconfig.PREFIX)], made.value[len(kubeconfig.PREFIX) :]
    assert prefix == "k8s-aws-v1." and "=" not in encoded
    url = urlsplit(base64.urlsafe_b64decode(encoded + "==").decode())
    asked = {name: values[0] for name, values in parse_qs(url.query).items()}
    assert (url.scheme, url.netloc) == ("https", "sts.us-east-1.amazonaws.com")
    assert asked["Action"] == "GetCallerIdentity"
    assert asked["X-Amz-SignedHeaders"] == "host;x-k8s-aws-id"
    assert asked["X-Amz-Expires"] == "60"
    assert made.is_valid() and made.expires < datetime.now(UTC) + timedelta(minutes=15)
    assert made.value not in repr(made)


def test_the_file_is_its_owners_alone_and_holds_no_secret(
    account: Account, server: Server, tmp_path: Path
) -> None:
    path = kubeconfig.write(tmp_path / "k", account, server.eks())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    assert kubeconfig.PREFIX not in text
    assert "nothing" not in text and "AKIDEXAMPLE" not in text


def test_the_official_client_sends_a_token_and_renews_it_in_time(
    server: Server, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster.core.list_node()
    cluster.core.list_node()
    assert len(set(server.tokens)) == 1
    assert server.tokens[0].startswith("Bearer k8s-aws-v1.")
    monkeypatch.setattr(kubeconfig.Token, "is_valid", lambda self: False)
    monkeypatch.setattr(kubeconfig, "URL_LIFETIME_S", 61)  # a second token that differs
    cluster.core.list_node()
    assert len(set(server.tokens)) == 2


@needs_kubectl
def test_kubectl_gets_its_token_from_the_file_without_the_aws_cli(
    server: Server, cluster: Cluster
) -> None:
    server.put(scenes.node("a"))
    kubectl = sh.Command(str(programs.need("kubectl")))
    names = kubectl("--kubeconfig", cluster.kubeconfig, "get", "nodes", "-o", "name")
    assert str(names).split() == ["node/a"]
    assert server.tokens[-1].startswith("Bearer k8s-aws-v1.")


def test_without_credentials_one_sentence_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    session.cache_clear()  # an earlier test of this process had keys
    assert kubeconfig.main(["us-east-1", "gpu-e2e"]) == 1
    printed = capsys.readouterr()
    assert "no AWS credentials" in printed.err and not printed.out


def test_a_refusal_a_dead_address_and_a_stranger_are_told_apart(
    server: Server, cluster: Cluster, account: Account, tmp_path: Path
) -> None:
    server.refuse("GET", "/nodes$", 401, "Unauthorized")
    with pytest.raises(Problem, match=r"does not accept the credentials.*Log in again"):
        _nodes(cluster)
    gone = server.eks().model_copy(update={"cluster_endpoint": "https://127.0.0.1:1"})
    with pytest.raises(Problem, match=r"API cannot be reached.*one address only"):
        _nodes(client.stack_cluster(tmp_path / "gone", account, gone))


def _nodes(cluster: Cluster) -> None:
    with client.asking("The list of nodes"):
        cluster.core.list_node()


def test_a_rehearsal_has_no_cluster_and_an_unknown_context_is_named(
    hasty: Run, account: Account, server: Server, tmp_path: Path
) -> None:
    with pytest.raises(Unavailable, match="no cluster of its own"):
        client.connect(hasty, account)
    file = server.kubeconfig(tmp_path / "config", "mine")
    with pytest.raises(Problem, match="context 'other' cannot be used"):
        client.context_cluster("other", file)
    own = client.context_cluster("mine", file)
    _nodes(own)
    assert server.tokens[-1] == "Bearer fixed" and not own.own
