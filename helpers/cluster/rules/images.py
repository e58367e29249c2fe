"""Images: well-formed references, pinned by digest."""

import re
from collections.abc import Iterator

from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Pod
from helpers.cluster.rules.scope import Rule, Scope

# github.com/distribution/reference: [host[:port]/]path[:tag][@digest]
_REFERENCE = re.compile(
    r"(?P<name>(?:[A-Za-z0-9.-]+(?::\d+)?/)?[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
    r"(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127}))?(?:@(?P<digest>.+))?"
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
POLICIES = ("Always", "IfNotPresent", "Never")
RIGHT = "repository@sha256: and 64 hexadecimal digits"


def references(scope: Scope) -> Iterator[Finding]:
    """Every image is named by its digest: a tag can be moved to another image."""
    for pod in scope.objects.pods:
        for one in pod.all_containers:
            yield from _image(pod, one["image"])


def _image(pod: Pod, image: Field) -> Iterator[Finding]:
    match = _REFERENCE.fullmatch(image.text)
    if match is None:
        yield pod.fault(image, f"'{image.value}' is no image", RIGHT)
    elif not match["digest"]:
        by = f"by its tag '{match['tag']}'" if match["tag"] else "without tag or digest"
        yield pod.fault(image, f"the image is named {by}, which can be moved", RIGHT)
    elif not _DIGEST.fullmatch(match["digest"]):
        yield pod.fault(image, f"'{match['digest']}' is no digest", RIGHT)
    elif match["tag"] == "latest":
        yield pod.fault(image, "the tag 'latest' says nothing about the version", RIGHT)


def pull_policies(scope: Scope) -> Iterator[Finding]:
    """A pull policy that exists, and that lets a fresh node have the image."""
    for pod in scope.objects.pods:
        for one in pod.all_containers:
            policy = one["imagePullPolicy"]
            if policy.given and policy.text not in POLICIES:
                wrong = f"there is no policy '{policy.value}'"
                yield pod.fault(policy, wrong, meant(policy.text, POLICIES))
            if policy.text == "Never":
                yield pod.fault(policy, "a fresh node never has the image", "IfNotPresent")


RULES: tuple[Rule, ...] = (references, pull_policies)
