"""Where `terraform init` gets its provider from: a mirror that is named, the registry, a folder."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import requests

from helpers.errors import Unavailable
from helpers.paths import CACHE

MIRROR = "TF_PROVIDER_MIRROR"
REGISTRY = "https://registry.terraform.io/.well-known/terraform.json"
REGISTRY_TIMEOUT_S = 4.0
PROVIDER = Path("registry.terraform.io/hashicorp/aws")


@dataclass(frozen=True)
class Route:
    """How providers are found.

    Attributes:
        folder: A mirror on this machine; None asks the registry.
        label: What people read.
    """

    folder: Path | None
    label: str

    @property
    def arguments(self) -> list[str]:
        """What `terraform init` is told."""
        return [f"-plugin-dir={self.folder}"] if self.folder else []

    @property
    def environment(self) -> dict[str, str]:
        """Variables for `terraform init`: the registry's 700 MB are kept for the next run."""
        if self.folder:
            return {}
        cache = CACHE / "terraform"
        cache.mkdir(parents=True, exist_ok=True)
        return {"TF_PLUGIN_CACHE_DIR": str(cache)}


def find(environment: Mapping[str, str] = os.environ, registry: str = REGISTRY) -> Route:
    """The first way that works.

    Args:
        environment: Where variables are looked up.
        registry: URL that answers where the registry can be reached.

    Raises:
        Unavailable: Neither mirror nor registry nor folder has the provider.
    """
    if named := environment.get(MIRROR, ""):
        if not (Path(named) / PROVIDER).is_dir():
            raise Unavailable(
                f"{MIRROR} names a folder without {PROVIDER}.",
                "Fill it with 'terraform providers mirror', or unset the variable.",
            )
        return Route(Path(named).resolve(), f"the mirror that {MIRROR} names")
    if _answers(registry):
        return Route(None, "the Terraform registry")
    for folder in folders(environment):
        if (folder / PROVIDER).is_dir():
            return Route(folder, "a mirror on this machine")
    raise Unavailable(
        "Terraform's AWS provider cannot be had: the registry does not answer, and no folder "
        "of this machine holds it.",
        f"Go online once, or name a mirror in {MIRROR} (made by 'terraform providers mirror').",
    )


def folders(environment: Mapping[str, str]) -> Iterator[Path]:
    """Where mirrors lie: XDG data, the home plugin folder, and folders under opt and share."""
    home = Path(environment.get("HOME", Path.home()))
    data = [environment.get("XDG_DATA_HOME") or str(home / ".local/share")]
    data += (environment.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":")
    yield from (Path(one) / "terraform/plugins" for one in data)
    yield home / ".terraform.d/plugins"
    for parent in (Path("/opt"), Path("/usr/local/opt"), *map(Path, data[1:])):
        if parent.is_dir():
            yield from sorted(one for one in parent.iterdir() if one.is_dir())


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=REGISTRY_TIMEOUT_S).ok
    except requests.RequestException:
        return False
