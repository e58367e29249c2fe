"""The rules by which errors of a cluster are recognised: data, first fit first.

A rule's pattern is written after what the source of Kubernetes, Helm, the AWS Load Balancer
Controller or Auto Scaling prints; its named groups, and the facts a caller knows (`release`,
`namespace`), fill the two sentences. Specific rules stand before general ones: a quota's refusal
is a "forbidden" too.
"""

from helpers.cluster.explanations.api import API, BALANCER, TIME
from helpers.cluster.explanations.helm import HELM
from helpers.cluster.explanations.nodes import CAPACITY, SCHEDULING
from helpers.cluster.explanations.pods import IMAGES, PODS
from helpers.cluster.explanations.rule import Rule

# the balancer before the API: an AccessDenied of its controller is not the user's own
RULES: tuple[Rule, ...] = (
    *CAPACITY, *HELM, *BALANCER, *IMAGES, *PODS, *SCHEDULING, *API, *TIME,
)  # fmt: skip
