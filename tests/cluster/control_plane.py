"""A real control plane on loopback, without kubelets: etcd, API server, scheduler, controllers.

Opt-in, as controller-runtime's envtest has it: `KUBEBUILDER_ASSETS` names a folder with the
programs `etcd`, `kube-apiserver`, `kube-scheduler` and `kube-controller-manager`.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import requests
import yaml

from helpers.cloud import certificate
from helpers.processes import free_port

PROGRAMS = ("etcd", "kube-apiserver", "kube-scheduler", "kube-controller-manager")
ASSETS = Path(os.environ.get("KUBEBUILDER_ASSETS", "/usr/local/kubebuilder/bin"))
CONTEXT = "control-plane"
TOKEN = "of-the-tests"  # opens a server on loopback that ends with the test
START_S = 60


def absent() -> str:
    """Why there can be none here; empty where there can."""
    missing = [name for name in PROGRAMS if not (ASSETS / name).is_file()]
    return f"KUBEBUILDER_ASSETS has no {', '.join(missing)}" if missing else ""


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Path]:
    """Start a control plane and stop it with the block.

    Args:
        folder: For its data, keys and logs.

    Yields:
        The kubeconfig of its administrator, with the context `CONTEXT`.
    """
    keys = certificate.make(folder / "tls", ["127.0.0.1"])
    stored, peers, port = (f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}",
                           free_port())  # fmt: skip
    url = f"https://127.0.0.1:{port}"
    tokens = folder / "tokens.csv"
    tokens.write_text(f"{TOKEN},admin,admin,system:masters\n")
    config = folder / "kubeconfig"
    config.write_text(_kubeconfig(url, keys.certificate))
    with contextlib.ExitStack() as stack:

        def start(name: str, *flags: str) -> None:
            stack.enter_context(_process(folder, name, flags))

        start(
            "etcd", "--data-dir", str(folder / "etcd"), "--unsafe-no-fsync",
            "--listen-client-urls", stored, "--advertise-client-urls", stored,
            "--listen-peer-urls", peers,
        )  # fmt: skip
        start(
            "kube-apiserver", f"--etcd-servers={stored}", "--bind-address=127.0.0.1",
            f"--secure-port={port}", "--endpoint-reconciler-type=none",
            f"--tls-cert-file={keys.certificate}", f"--tls-private-key-file={keys.key}",
            f"--token-auth-file={tokens}", "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16", "--allow-privileged=true",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={keys.key}",
            f"--service-account-signing-key-file={keys.key}",
        )  # fmt: skip
        _wait_ready(url, keys.certificate, folder)
        start("kube-scheduler", f"--kubeconfig={config}", "--leader-elect=false", "--secure-port=0")
        start(
            "kube-controller-manager", f"--kubeconfig={config}", "--leader-elect=false",
            "--secure-port=0", f"--root-ca-file={keys.certificate}",
            f"--service-account-private-key-file={keys.key}",
            "--use-service-account-credentials=false",
            "--controllers=*,-node-lifecycle-controller",  # nobody's kubelet sends heartbeats
        )  # fmt: skip
        yield config


@contextlib.contextmanager
def _process(folder: Path, name: str, flags: tuple[str, ...]) -> Iterator[None]:
    with (folder / f"{name}.log").open("w") as log:
        process = subprocess.Popen([ASSETS / name, *flags], stdout=log, stderr=log, cwd=folder)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_ready(url: str, authority: Path, folder: Path) -> None:
    deadline = time.monotonic() + START_S
    head = {"Authorization": f"Bearer {TOKEN}"}
    while True:
        with contextlib.suppress(requests.ConnectionError):
            answer = requests.get(f"{url}/readyz", headers=head, verify=str(authority), timeout=5)
            if answer.ok:
                return
        if time.monotonic() > deadline:
            log = (folder / "kube-apiserver.log").read_text()
            raise TimeoutError(f"no API server within {START_S} s:\n{log[-2000:]}")
        time.sleep(0.2)


def _kubeconfig(url: str, authority: Path) -> str:
    cluster = {"server": url, "certificate-authority": str(authority)}
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
            "contexts": [{"name": CONTEXT, "context": {"cluster": "c", "user": "u"}}],
            "current-context": CONTEXT,
        }
    )
