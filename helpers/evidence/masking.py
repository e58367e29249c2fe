"""What must not leave the machine: masked by rule, and looked for again by a scanner."""

import platform
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from detect_secrets.core.scan import scan_line
from detect_secrets.settings import transient_settings

from helpers.cloud.reports import Stack
from helpers.paths import ROOT
from helpers.run import Run

# words in square brackets: they need no escaping in HTML, JSON, SVG or Markdown
RULES = (
    (re.compile(re.escape(str(ROOT))), "."),
    (re.compile(re.escape(str(Path.home())) + r"(?=/)"), "~"),
    (re.compile(r"/(?:home|Users)/[\w.-]+(?=/)"), "~"),
    (re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.S),
     "[private key]"),
    (re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), "[access key]"),
    (re.compile(r"(?i)(?<=secret_access_key)(\W{1,6})[A-Za-z0-9/+=]{40}\b"), r"\1[secret key]"),
    (re.compile(r"(?i)(?<=session_token)(\W{1,6})[A-Za-z0-9/+=]{40,}"), r"\1[session token]"),
    (re.compile(r"\b(?:gh[pousr]_|glsa_|glc_|xox[abp]-)[\w-]{20,}"), "[token]"),
    (re.compile(r"\bk8s-aws-v1\.[\w-]+"), "[token]"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"), "[token]"),
    (re.compile(r"(?i)(?<=bearer )[\w.~+/-]{16,}=*"), "[token]"),
    (re.compile(r"(?<=//)[^/\s:@\"']+:[^/\s@\"']+(?=@)"), "[login]"),
    (re.compile(r"X-Amz-(?:Signature|Security-Token|Credential)=[^&\s\"'<]+"), "[signature]"),
    (re.compile(r"(?<=:)\d{12}(?=[:/])|\b\d{12}(?=\.dkr\.ecr)|(?<=-)\d{12}(?=-[a-z]{2}-[a-z]+-\d)"),
     "[account]"),
    (re.compile(r"\b(?:ip-\d+-\d+-\d+-\d+|[\w-]+)\.(?:[\w-]+\.)?(?:ec2|compute)\.internal\b"),
     "[host]"),
    (re.compile(r"\b[A-F0-9]{32}\.[\w.-]+\.eks\.amazonaws\.com"), "[cluster endpoint]"),
    (re.compile(r"\b[\w-]+(?:\.[a-z]{2}-[a-z]+-\d)?\.elb(?:\.[a-z]{2}-[a-z]+-\d)?\.amazonaws\.com"),
     "[load balancer]"),
)  # fmt: skip
ADDRESS = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)")
# loopback, anywhere, and what RFC 5737 keeps for documentation
HARMLESS = re.compile(r"127\.|0\.0\.0\.0|192\.0\.2\.|198\.51\.100\.|203\.0\.113\.|255\.")
SHORTEST_NAME = 4  # a host called `ip` would mask half of every page
DATA = re.compile(r"base64,[A-Za-z0-9+/=]+")
DETECTORS = ("AWSKeyDetector", "GitHubTokenDetector", "JwtTokenDetector", "PrivateKeyDetector",
             "BasicAuthDetector", "SlackDetector", "PypiTokenDetector")  # fmt: skip


def mask(text: str, own: Iterable[str] = ()) -> str:
    """Replace keys, tokens, account ids, addresses, host names and paths of this machine.

    Args:
        text: Anything: HTML, JSON, Markdown.
        own: Further words of this run that nobody else may read (`own_words`).

    >>> mask("arn:aws:iam::123456789012:role/x from 10.0.3.7, not 127.0.0.1")
    'arn:aws:iam::[account]:role/x from [address], not 127.0.0.1'
    """
    for word in sorted(set(own), key=len, reverse=True):
        text = text.replace(word, "[masked]")
    for pattern, instead in RULES:
        text = pattern.sub(instead, text)
    return ADDRESS.sub(_address, text)


def masked(value: Any, own: Iterable[str] = ()) -> Any:
    """The same structure with every text in it masked; pictures stay as they are."""
    if isinstance(value, str):
        return mask(value, own)
    if isinstance(value, list):
        return [masked(one, own) for one in value]
    if isinstance(value, dict):
        return {
            key: one if str(key).startswith("image/") else masked(one, own)
            for key, one in value.items()
        }
    return value


def own_words(run: Run) -> tuple[str, ...]:
    """What only this run and machine know: host name, addresses, account, e-mail."""
    infrastructure = run.profile.infrastructure
    stack = run.readable(Stack)
    found = [platform.node(), infrastructure.alert_email]
    if stack:
        found += [stack.cluster_endpoint.removeprefix("https://"), *_accounts(stack)]
        found.append(stack.cluster_certificate_authority)
    return tuple(word for word in found if len(word) >= SHORTEST_NAME)


def findings(text: str) -> list[str]:
    """What a scanner for secrets still finds in a text that was masked; pictures are left out.

    Two opinions: our own rules, and the detectors of detect-secrets.
    """
    text = DATA.sub("", text)
    found = [f"{pattern.pattern[:40]}" for pattern, _ in RULES if pattern.search(text)]
    found += [one.group() for one in ADDRESS.finditer(text) if _address(one) == "[address]"]
    with transient_settings({"plugins_used": [{"name": name} for name in DETECTORS]}):
        for line in text.splitlines():
            found += [f"{one.type}" for one in scan_line(line)]
    return found


def _accounts(stack: Stack) -> Iterator[str]:
    for arn in stack.role_arns.values():
        account = arn.split(":")[4] if arn.count(":") > 4 else ""
        if account:
            yield account


def _address(match: re.Match[str]) -> str:
    parts = match.group().split(".")
    real = all(int(part) < 256 for part in parts)
    return "[address]" if real and not HARMLESS.match(match.group()) else match.group()
