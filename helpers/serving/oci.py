"""A container image made and pushed without a builder: layer, configuration, manifest, HTTP.

Only what a rehearsal needs of the OCI image and distribution specifications 1.1: one layer on
nothing, pushed to a registry that asks for no credentials, read back and compared.
"""

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from helpers.errors import Problem

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
# what docker and buildah push; a registry answers with what it was given
MANIFEST_TYPES = (MANIFEST_TYPE, "application/vnd.docker.distribution.manifest.v2+json")
TIMEOUT_S = 60.0
USER = 1000  # triton-server in NVIDIA's image


@dataclass(frozen=True)
class Image:
    """An image in memory.

    Attributes:
        layer: Compressed tar.
        config: JSON.
        manifest: JSON; its digest is the image's.
    """

    layer: bytes
    config: bytes
    manifest: bytes

    @property
    def digest(self) -> str:
        """The image's name that cannot be moved: `sha256:…` of the manifest."""
        return digest(self.manifest)


def digest(data: bytes) -> str:
    """`sha256:` and the hexadecimal digest of some bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def build(folder: Path, target: str, labels: dict[str, str]) -> Image:
    """An image whose one layer holds a folder; equal content gives an equal digest.

    Args:
        folder: What goes in.
        target: Where it lies in the image, such as `/models`.
        labels: Of the image's configuration.
    """
    tar = _tar(folder, target.strip("/"))
    layer = gzip.compress(tar, compresslevel=1, mtime=0)
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": labels, "User": f"{USER}:{USER}"},
            "rootfs": {"type": "layers", "diff_ids": [digest(tar)]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(CONFIG_TYPE, config),
            "layers": [_descriptor(LAYER_TYPE, layer)],
        }
    )
    return Image(layer, config, manifest)


def push(image: Image, registry: str, repository: str, tag: str) -> None:
    """Push to a registry over plain HTTP on this machine.

    Args:
        image: What.
        registry: Base URL, such as `http://127.0.0.1:5000`.
        repository: Name in the registry.
        tag: Name of the manifest there.

    Raises:
        Problem: The registry refuses or cannot be reached.
    """
    for blob in (image.layer, image.config):
        place = _ask("POST", f"{registry}/v2/{repository}/blobs/uploads/").headers["Location"]
        joined = "&" if "?" in place else "?"
        url = place if place.startswith("http") else registry + place
        _ask("PUT", f"{url}{joined}digest={digest(blob)}", blob, "application/octet-stream")
    _ask("PUT", f"{registry}/v2/{repository}/manifests/{tag}", image.manifest, MANIFEST_TYPE)


def read_back(registry: str, repository: str, reference: str) -> tuple[str, list[str]]:
    """What a registry holds under a name, every byte fetched and digested again.

    Args:
        registry: Base URL.
        repository: Name in the registry.
        reference: Tag or digest.

    Returns:
        The manifest's digest, and the names of the files in all layers.

    Raises:
        Problem: Something is missing, or is not what its digest says.
    """
    base = f"{registry}/v2/{repository}"
    answer = _ask("GET", f"{base}/manifests/{reference}", accept=", ".join(MANIFEST_TYPES))
    found = digest(answer.content)
    if answer.headers.get("Docker-Content-Digest") != found:
        raise Problem(f"The registry says another digest than its manifest has ({found}).")
    manifest = answer.json()
    files: list[str] = []
    for one in [manifest["config"], *manifest["layers"]]:
        blob = _ask("GET", f"{base}/blobs/{one['digest']}").content
        if digest(blob) != one["digest"]:
            raise Problem(f"A blob of {repository} is not what its digest says.", "Push it again.")
        if one is not manifest["config"]:
            files += _names(blob)
    return found, files


def _tar(folder: Path, target: str) -> bytes:
    """A tar of the folder in which nothing depends on when or by whom it was made."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        _add_folder(archive, target)
        for path in sorted(folder.rglob("*")):
            name = f"{target}/{path.relative_to(folder).as_posix()}"
            if path.is_dir():
                _add_folder(archive, name)
            else:
                entry = _entry(name, 0o644)
                entry.size = path.stat().st_size
                with path.open("rb") as file:
                    archive.addfile(entry, file)
    return buffer.getvalue()


def _add_folder(archive: tarfile.TarFile, name: str) -> None:
    entry = _entry(name, 0o755)
    entry.type = tarfile.DIRTYPE
    archive.addfile(entry)


def _entry(name: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.mode, entry.mtime = mode, 0  # root's: the server cannot change what it serves
    return entry


def _names(layer: bytes) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(layer), mode="r:*") as archive:
        return [one.name for one in archive.getmembers() if one.isfile()]


def _descriptor(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": digest(data), "size": len(data)}


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _ask(
    method: str, url: str, data: bytes = b"", kind: str = "", accept: str = "*/*"
) -> requests.Response:
    headers = {"Accept": accept} | ({"Content-Type": kind} if kind else {})
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy is no way to this machine's own loopback
            answer = session.request(method, url, data=data, headers=headers, timeout=TIMEOUT_S)
    except requests.RequestException as error:
        raise Problem(f"The registry cannot be reached: {error}.", "Start it again.") from error
    if not answer.ok:
        words = answer.text[:200].strip()
        raise Problem(f"The registry refuses {method} with {answer.status_code}: {words}.")
    return answer
