"""What Helm says when a release does not go on."""

from helpers.cluster.explanations.rule import rule

HELM = (
    rule(
        "release-pending",
        r"another operation \(install/upgrade/rollback\) is in progress|"
        r"STATUS: pending-(?:install|upgrade|rollback)|\"pending-(?:install|upgrade|rollback)\"",
        "The release {release} is stuck in a pending state: an earlier Helm was killed half-way.",
        "Make sure that no other Helm runs, then: helm -n {namespace} rollback {release}; a first "
        "installation has nothing to roll back to: helm -n {namespace} uninstall {release}",
    ),
    rule(
        "apply-conflict",
        r"(?:conflict occurred while applying object (?P<object>[^:]+): )?Apply failed with "
        r"\d+ conflicts?: conflicts? with \"(?P<manager>[^\"]+)\"[^:]*:\s*-? ?(?P<field>\.\S+)",
        "Somebody changed what the release owns: '{manager}' has set {field} ({object}), and "
        "server-side apply does not overwrite it.",
        "Undo that change, or take the field back with: helm upgrade --force-conflicts (Helm 4), "
        "or keep it and remove the field from the chart.",
    ),
    rule(
        "not-owned",
        r"(?P<object>\w+ \"[^\"]+\") in namespace \"(?P<where>[^\"]*)\" exists and cannot be "
        r"imported into the current release",
        "{object} exists already and belongs to no release, or to another one.",
        "Delete it, or install under the name of the release that owns it.",
    ),
    rule(
        "crds-missing",
        r"no matches for kind \"(?P<kind>\w+)\" in version \"(?P<version>[^\"]+)\"|"
        r"ensure CRDs are installed first",
        "The cluster does not know the kind {kind} ({version}): its CRDs are not installed.",
        "Install the release that brings them first; the order of k8s/releases.yaml does that.",
    ),
    rule(
        "values-refused",
        r"values don't meet the specifications of the schema\(s\)[^:]*:\s*(?P<detail>.+)",
        "The chart refuses the values: {detail}",
        "Correct the value; the chart's values.yaml says what is allowed.",
    ),
    rule(
        "name-in-use",
        r"cannot re-?use a name that is still in use",
        "A release {release} exists already.",
        "Upgrade it, or uninstall it first: helm -n {namespace} uninstall {release}",
    ),
    rule(
        "no-release",
        r"release: not found|has no deployed releases",
        "There is no deployed release {release}.",
        "Install it; where a first installation failed: helm -n {namespace} uninstall {release}",
    ),
    rule(
        "hook-failed",
        r"(?:pre|post)-(?:install|upgrade|delete|rollback) hooks? failed|test.*hook.*failed|"
        r"job failed: BackoffLimitExceeded|pod \S+ failed",
        "A hook or test of the release {release} failed.",
        "Read the log of its pod: kubectl -n {namespace} get pods; kubectl -n {namespace} logs POD",
    ),
    rule(
        "chart-unreachable",
        r"looks like \"(?P<url>[^\"]+)\" is not a valid chart repository or cannot be reached|"
        r"failed to fetch (?P<link>https?://\S+)|chart \"(?P<chart>[^\"]+)\".*not found in|"
        r"failed to do request: Head \"(?P<head>[^\"]+)\"|failed to perform \"FetchReference\"",
        "The chart's repository cannot be reached, or does not have the chart.",
        "Check the network and the chart's line in k8s/releases.yaml.",
    ),
)
