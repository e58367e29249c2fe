"""Replaces secrets and private names in everything that is exported, and scans for what is left."""

import platform
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from detect_secrets.core.scan import scan_line
from detect_secrets.settings import transient_settings

from helpers.cloud.stack import Stack
from helpers.paths import ROOT
from helpers.run import Run

RULES = (
    (re.compile(re.escape(str(ROOT))), "."),
    (re.compile(re.escape(str(Path.home())) + r"(?=/)"), "~"),
    *((re.compile(pattern), replacement) for pattern, replacement in
      yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text())),
)  # fmt: skip
ADDRESS = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)")
# loopback, any, and the ranges that RFC 5737 reserves for documentation
PUBLISHABLE = re.compile(r"127\.|0\.0\.0\.0|192\.0\.2\.|198\.51\.100\.|203\.0\.113\.|255\.")
SHORTEST_NAME = 4  # a host called `ip` would be replaced in half of every page
EMBEDDED_DATA = re.compile(r"(base64,[A-Za-z0-9+/=]{200,})")
DETECTORS = ("AWSKeyDetector", "GitHubTokenDetector", "JwtTokenDetector", "PrivateKeyDetector",
             "BasicAuthDetector", "SlackDetector", "PypiTokenDetector")  # fmt: skip


def redact(text: str, private: Iterable[str] = ()) -> str:
    """Replace keys, tokens, account ids, addresses, host names, paths and a run's `private_words`.

    >>> redact("arn:aws:iam::123456789012:role/x from 10.0.3.7, not 127.0.0.1")
    'arn:aws:iam::[account]:role/x from [address], not 127.0.0.1'
    """
    for word in sorted(set(private), key=len, reverse=True):
        text = text.replace(word, "[masked]")
    parts = EMBEDDED_DATA.split(text)  # every second one is a picture, slow to search and no text
    return "".join(_redact(part) if n % 2 == 0 else part for n, part in enumerate(parts))


def _redact(text: str) -> str:
    for pattern, replacement in RULES:
        text = pattern.sub(replacement, text)
    return ADDRESS.sub(_redact_address, text)


def redact_all(value: Any, private: Iterable[str] = ()) -> Any:
    """The same structure with every text in it redacted; pictures stay as they are."""
    if isinstance(value, str):
        return redact(value, private)
    if isinstance(value, list):
        return [redact_all(item, private) for item in value]
    if isinstance(value, dict):
        return {key: item if key.startswith("image/") else redact_all(item, private)
                for key, item in value.items()}  # fmt: skip
    return value


def private_words(run: Run) -> tuple[str, ...]:
    """What identifies this run's machine and account: host name, endpoint, account, e-mail."""
    words = [platform.node(), run.profile.infrastructure.alert_email]
    if stack := run.readable(Stack):
        words += [stack.cluster_endpoint.removeprefix("https://")]
        words += [arn.split(":")[4] for arn in stack.role_arns.values() if arn.count(":") > 4]
        words += [stack.cluster_certificate_authority]
    return tuple(word for word in words if len(word) >= SHORTEST_NAME)


def find_secrets(text: str) -> list[str]:
    """What our rules and detect-secrets still find in a text; embedded pictures are skipped."""
    text = EMBEDDED_DATA.sub("", text)
    secrets = [pattern.pattern[:40] for pattern, _ in RULES if pattern.search(text)]
    addresses = ADDRESS.finditer(text)
    secrets += [match.group() for match in addresses if _redact_address(match) == "[address]"]
    with transient_settings({"plugins_used": [{"name": name} for name in DETECTORS]}):
        for line in text.splitlines():
            secrets += _detected(line)
    return secrets


@lru_cache(100_000)  # most lines of an exported notebook are those of its template
def _detected(line: str) -> list[str]:
    return [secret.type for secret in scan_line(line)]


def _redact_address(match: re.Match[str]) -> str:
    address = match.group()
    is_address = all(int(part) < 256 for part in address.split("."))
    return "[address]" if is_address and not PUBLISHABLE.match(address) else address
