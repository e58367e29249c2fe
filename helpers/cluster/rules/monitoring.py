"""Objects of the Prometheus operator: fields that its CRDs have, times that Prometheus reads.

Source: https://prometheus-operator.dev/docs/api-reference/api/
"""

from collections.abc import Iterator

from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Resource
from helpers.cluster.rules import syntax
from helpers.cluster.rules.containers import repeated
from helpers.cluster.rules.scope import Rule, Scope

Types = dict[str, type | tuple[type, ...]]


def _typed(**names: str) -> Types:
    """Field → Python's type of its JSON, from the fields of each type."""
    return {name: JSON[kind] for kind, text in names.items() for name in text.split()}


JSON: Types = {"text": str, "flag": bool, "number": int, "text_or_number": (str, int),
               "mapping": dict, "sequence": list}  # fmt: skip
MONITOR = _typed(
    text="bodySizeLimit fallbackScrapeProtocol jobLabel scrapeClass selectorMechanism"
    " serviceDiscoveryRole",
    flag="convertClassicHistogramsToNHCB scrapeClassicHistograms scrapeNativeHistograms",
    number="keepDroppedTargets labelLimit labelNameLengthLimit labelValueLengthLimit"
    " nativeHistogramBucketLimit sampleLimit targetLimit",
    text_or_number="nativeHistogramMinBucketFactor",
    mapping="attachMetadata namespaceSelector selector",
    sequence="endpoints podMetricsEndpoints podTargetLabels scrapeProtocols targetLabels",
)
ENDPOINT = _typed(
    text="bearerTokenFile interval noProxy path port proxyUrl scheme scrapeTimeout",
    flag="enableHttp2 filterRunning followRedirects honorLabels honorTimestamps"
    " proxyFromEnvironment trackTimestampsStaleness",
    number="portNumber",
    text_or_number="targetPort",
    mapping="authorization basicAuth bearerTokenSecret oauth2 params proxyConnectHeader tlsConfig",
    sequence="metricRelabelings relabelings",
)
RELABELING = _typed(
    text="action regex replacement separator targetLabel", number="modulus", sequence="sourceLabels"
)
ACTIONS = frozenset({
    "replace", "keep", "drop", "hashmod", "labelmap", "labeldrop", "labelkeep", "lowercase",
    "uppercase", "keepequal", "dropequal",
})  # fmt: skip
RULE = _typed(
    text="alert for keep_firing_for record", text_or_number="expr", mapping="annotations labels"
)
GROUP = _typed(
    text="interval name partial_response_strategy query_offset",
    number="limit",
    mapping="labels",
    sequence="rules",
)
NAMESPACES = _typed(flag="any", sequence="matchNames")
ENDPOINTS = {"ServiceMonitor": "endpoints", "PodMonitor": "podMetricsEndpoints"}
_PAIRS = {")": "(", "]": "[", "}": "{"}


def _fields(one: Resource, field: Field, known: Types) -> Iterator[Finding]:
    """Fields that exist, each of its type; unlike the API's own kinds, none may be null."""
    for key, member in field.entries.items():
        if key not in known:
            yield one.fault(member, f"there is no field '{key}'", meant(key, known))
        elif not _is(member.value, known[key]):
            wanted = next(name for name, kind in JSON.items() if kind == known[key])
            right = wanted.replace("_", " ")
            yield one.fault(member, f"{member.value!r:.60} has the wrong type", right)


def _is(value: object, kind: type | tuple[type, ...]) -> bool:
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, kind)


def monitors(scope: Scope) -> Iterator[Finding]:
    """Monitors: known fields, an endpoint, times in order."""
    for one in scope.objects.of_kind(*ENDPOINTS):
        yield from _fields(one, one["spec"], MONITOR)
        endpoints = one["spec"][ENDPOINTS[one.kind]]
        if not list(endpoints):
            yield one.fault(endpoints, "there is no endpoint", "at least one")
        where = one["spec"]["namespaceSelector"]
        yield from _fields(one, where, NAMESPACES)
        for each in endpoints:
            yield from _endpoint(one, each)


def _endpoint(one: Resource, each: Field) -> Iterator[Finding]:
    yield from _fields(one, each, ENDPOINT)
    for key in ("interval", "scrapeTimeout"):
        if each[key].given and not syntax.milliseconds(each[key].text):
            yield one.fault(each[key], f"'{each[key].value}' is no time", "such as 15s or 1m30s")
    every = syntax.milliseconds(each["interval"].text)
    within = syntax.milliseconds(each["scrapeTimeout"].text)
    if every and within and within > every:
        wrong = f"a scrape may take {each['scrapeTimeout'].text}, the next comes sooner"
        yield one.fault(each["scrapeTimeout"], wrong, f"at most {each['interval'].text}")
    if each["path"].given and not each["path"].text.startswith("/"):
        yield one.fault(each["path"], f"'{each['path'].value}' is no path", "a path from '/'")
    if each["scheme"].given and each["scheme"].text.lower() not in ("http", "https"):
        yield one.fault(each["scheme"], f"no scheme '{each['scheme'].value}'", "http or https")
    for key in ("relabelings", "metricRelabelings"):
        for step in each[key]:
            yield from _fields(one, step, RELABELING)
            action = step["action"]
            if action.given and action.text.lower() not in ACTIONS:
                wrong = f"there is no action '{action.value}'"
                yield one.fault(action, wrong, meant(action.text, ACTIONS))


def rules(scope: Scope) -> Iterator[Finding]:
    """Recording and alerting rules that Prometheus can load."""
    for one in scope.objects.of_kind("PrometheusRule"):
        groups = list(one["spec"]["groups"])
        yield from _fields(one, one["spec"], _typed(sequence="groups"))
        for field in repeated(groups):
            yield one.fault(field, f"two groups are called '{field.value}'", "other names")
        for group in groups:
            yield from _fields(one, group, GROUP)
            if not group["name"].text:
                yield one.fault(group["name"], "the group has no name", "a name")
            if group["interval"].given and not syntax.milliseconds(group["interval"].text):
                yield one.fault(group["interval"], "no time", "such as 15s")
            for rule in group["rules"]:
                yield from _rule(one, rule)


def _rule(one: Resource, rule: Field) -> Iterator[Finding]:
    yield from _fields(one, rule, RULE)
    if bool(rule["alert"].text) == bool(rule["record"].text):
        yield one.fault(rule, "a rule records or alerts", "exactly one of record and alert")
    if rule["record"].text and rule["for"].given:
        yield one.fault(rule["for"], "a recording rule does not wait", "leave it out")
    for key in ("for", "keep_firing_for"):
        if rule[key].given and syntax.milliseconds(rule[key].text) is None:
            yield one.fault(rule[key], f"'{rule[key].value}' is no time", "such as 5m")
    expression = rule["expr"]
    if not str(expression.value or "").strip():
        yield one.fault(expression, "there is no expression", "PromQL")
    elif not balanced(expression.text):
        yield one.fault(expression, "brackets or quotes do not close", "PromQL")


def balanced(text: str) -> bool:
    """Whether brackets and quotes of an expression close.

    >>> balanced('rate(x{a=")"}[2m])'), balanced("sum(rate(x[2m])")
    (True, False)
    """
    opened, quote, previous = [], "", ""
    for one in text:
        if quote:
            quote = "" if one == quote and previous != "\\" else quote
        elif one in "\"'`":
            quote = one
        elif one in "([{":
            opened.append(one)
        elif one in _PAIRS and (not opened or opened.pop() != _PAIRS[one]):
            return False
        previous = one
    return not opened and not quote


RULES: tuple[Rule, ...] = (monitors, rules)
