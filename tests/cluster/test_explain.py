"""Each error of a cluster is recognised by the words its source prints, and explained."""

import re

import pytest

from helpers.cluster import explain
from helpers.errors import Problem

# What Kubernetes, Helm, the kubelet, the scheduler, controllers and Auto Scaling print.
TEXTS = {
    "no-cluster": [
        "Error: kubernetes cluster unreachable: Get \"https://ABC.gr7.us-east-1.eks.amazonaws.com/"
        "version\": dial tcp 203.0.113.9:443: i/o timeout",
        "HTTPSConnectionPool(host='x', port=443): Max retries exceeded with url: /api/v1/nodes "
        "(Caused by NewConnectionError(': Failed to establish a new connection: [Errno 111]'))",
        "dial tcp: lookup ABC.gr7.us-east-1.eks.amazonaws.com: no such host",
    ],
    "expired-token": [
        "error: You must be logged in to the server (Unauthorized)",
        "Error: kubernetes cluster unreachable: the server has asked for the client to provide "
        "credentials",
        "Unauthorized (Unauthorized, HTTP 401)",
    ],
    "no-token": [
        "Unable to connect to the server: getting credentials: exec: executable "
        "/x/python failed with exit code 1",
    ],
    "forbidden": [
        'nodes is forbidden: User "arn:aws:iam::123456789012:user/x" cannot list resource "nodes" '
        'in API group "" at the cluster scope (Forbidden, HTTP 403)',
    ],
    "no-spot-capacity": [
        "Could not launch Spot Instances. InsufficientInstanceCapacity - There is no Spot capacity "
        "available that matches your request. Launching EC2 instance failed.",
        "Could not launch Spot Instances. UnfulfillableCapacity - Unable to fulfill capacity due "
        "to your request configuration. Please adjust your request and try again.",
    ],
    "no-capacity-on-demand": [
        "AsgInstanceLaunchFailures: Could not launch On-Demand Instances. "
        "InsufficientInstanceCapacity - We currently do not have sufficient t3.large capacity in "
        "the Availability Zone you requested (us-east-1e).",
    ],
    "node-group-broken": ["Ec2LaunchTemplateVersionMismatch: the version does not match",
                          "AutoScalingGroupNotFound: we couldn't find it (eks-gpu-1)"],
    "node-not-joined": ["NodeCreationFailure: Instances failed to join the kubernetes cluster "
                        "(i-0123456789abcdef0)"],
    "no-addresses": ["InsufficientFreeAddresses: One or more of the subnets associated with your "
                     "managed node group does not have enough available IP addresses"],
    "instance-limit": ["InstanceLimitExceeded: Your account is unable to launch any more instances "
                       "of the specified instance type."],
    "spot-price": [
        "Could not launch Spot Instances. SpotMaxPriceTooLow - Your Spot request price of 0.1 is "
        "lower than the minimum required Spot request fulfillment price of 0.2104.",
    ],
    "spot-count": ["Could not launch Spot Instances. MaxSpotInstanceCountExceeded - Max spot "
                   "instance count exceeded. Launching EC2 instance failed."],
    "vcpu-quota": [
        "You have requested more vCPU capacity than your current vCPU limit of 0 allows for the "
        "instance bucket that the specified instance type belongs to. (VcpuLimitExceeded)",
    ],
    "type-not-in-zone": [
        "Your requested instance type (g4dn.xlarge) is not supported in your requested "
        "Availability Zone (us-east-1e). Please retry your request",
    ],
    "free-plan": ["Could not launch Spot Instances. InvalidParameterCombination - The specified "
                  "instance type is not eligible for Free Tier."],
    "no-linked-role": ["The provided credentials do not have permission to create the "
                       "service-linked role for EC2 Spot Instances."],
    "no-buildkit": [
        "the --chmod option requires BuildKit. Refer to https://docs.docker.com/go/buildkit/ to "
        "learn how to build images with BuildKit enabled",
        "ERROR: BuildKit is enabled but the buildx component is missing or broken.",
    ],
    "image-back-off": ['ImagePullBackOff Back-off pulling image "r/x@sha256:1"',
                       'ErrImagePull: rpc error: code = Unknown desc = dial tcp: i/o timeout'],
    "image-missing": ['Failed to pull image "r/x@sha256:1": rpc error: code = NotFound desc = '
                      'failed to pull and unpack image: r/x@sha256:1: not found'],
    "image-denied": ['Failed to pull image "123456789012.dkr.ecr.us-east-1.amazonaws.com/x": '
                     "unexpected status from HEAD request: 403 Forbidden",
                     'Failed to pull image "x": no basic auth credentials'],
    "crash-loop": ["CrashLoopBackOff back-off 5m0s restarting failed container=triton "
                   "pod=triton-6d_triton(1)"],
    "out-of-memory": ["CrashLoopBackOff OOMKilled (exit status 137)"],
    "no-model-loads": ["E1125 server.cc:282] error: creating server: Internal - failed to load "
                       "all models"],
    "container-config": ['CreateContainerConfigError secret "grafana-admin" not found'],
    "runs-as-root": ["Error: container has runAsNonRoot and image will run as root"],
    "webhook-down": [
        'Internal error occurred: failed calling webhook "mservice.elbv2.k8s.aws": failed to call '
        'webhook: Post "https://aws-load-balancer-webhook-service.kube-system.svc:443/mutate-v1-'
        'service?timeout=10s": no endpoints available for service '
        '"aws-load-balancer-webhook-service" (InternalError, HTTP 500)',
        'failed calling webhook "vingress.elbv2.k8s.aws": failed to call webhook: Post '
        '"https://x.svc:443/y?timeout=10s": context deadline exceeded',
    ],
    "webhook-denied": ['admission webhook "validate.nginx" denied the request: host is taken'],
    "apply-conflict": [
        "Error: UPGRADE FAILED: conflict occurred while applying object triton/triton apps/v1, "
        'Kind=Deployment: Apply failed with 1 conflict: conflict with "kubectl-edit" using '
        "apps/v1: .spec.template.spec.terminationGracePeriodSeconds",
        "Error: UPGRADE FAILED: conflict occurred while applying object triton/triton /v1, "
        'Kind=Service: Apply failed with 2 conflicts: conflicts with "kubectl" using v1:\n'
        "- .spec.type\n- .spec.ports",
    ],
    "release-pending": ["Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in "
                        "progress", "STATUS: pending-upgrade", "STATUS: pending-install"],
    "crds-missing": [
        'Error: INSTALLATION FAILED: unable to build kubernetes objects from release manifest: '
        'resource mapping not found for name: "triton" namespace: "triton" from "": no matches '
        'for kind "ServiceMonitor" in version "monitoring.coreos.com/v1"\n'
        "ensure CRDs are installed first",
    ],
    "not-owned": ['Error: Unable to continue with install: Service "triton" in namespace "triton" '
                  "exists and cannot be imported into the current release: invalid ownership "
                  "metadata"],
    "values-refused": ["Error: values don't meet the specifications of the schema(s) in the "
                       "following chart(s):\ntriton:\n- at '/replicas': got string"],
    "name-in-use": ["Error: INSTALLATION FAILED: cannot reuse a name that is still in use"],
    "no-release": ["Error: uninstall: Release not loaded: x: release: not found"],
    "chart-unreachable": ['Error: looks like "https://x/y" is not a valid chart repository or '
                          'cannot be reached: Get "https://x/y/index.yaml": dial tcp: no such host',
                          'failed to perform "FetchReference" on source: Get "https://x/v2/": no '
                          "such host"],
    "quota": ['pods "t-1" is forbidden: exceeded quota: compute, requested: '
              "requests.nvidia.com/gpu=1, used: requests.nvidia.com/gpu=1, limited: "
              "requests.nvidia.com/gpu=1"],
    "pod-security": ['pods "x" is forbidden: violates PodSecurity "restricted:latest": '
                     "allowPrivilegeEscalation != false"],
    "no-priority-class": ['pods "x" is forbidden: no PriorityClass with name gone was found'],
    "immutable": ["Deployment.apps \"triton\" is invalid: spec.selector: Invalid value: "
                  "{}: field is immutable"],
    "no-gpu-free": ["0/2 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) didn't "
                    "match Pod's node affinity/selector."],
    "untolerated-taint": ["0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated "
                          "taint {gpu: true}.", "0/1 nodes are available: 1 node(s) had "
                          "untolerated taint(s)."],
    "no-node-matches": ["0/1 nodes are available: 1 node(s) didn't match Pod's node "
                        "affinity/selector. preemption: 0/1 nodes are available"],
    "no-room": ["0/2 nodes are available: 1 Insufficient memory, 1 node(s) didn't match Pod's node "
                "affinity/selector. no new claims to deallocate, preemption: 0/2 nodes"],
    "cordoned": ["0/2 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 "
                 "node(s) were unschedulable. no new claims to deallocate, preemption: 0/2 nodes"],
    "no-subnets": ["FailedBuildModel: Failed build model due to couldn't auto-discover subnets: "
                   "unable to resolve at least one subnet"],
    "balancer-denied": ["Failed deploy model due to operation error Elastic Load Balancing v2: "
                        "CreateLoadBalancer, https response error StatusCode: 403, api error "
                        "AccessDenied: User is not authorized to perform: "
                        "elasticloadbalancing:CreateLoadBalancer"],
    "rollout-stuck": ['ProgressDeadlineExceeded: ReplicaSet "x" has timed out progressing.'],
    "disk-full": ["failed to extract layer: write /x: no space left on device"],
    "terminating": ['services "x" is forbidden: unable to create new content in namespace triton '
                    "because it is being terminated"],
    "wrong-certificate": ["tls: failed to verify certificate: x509: certificate signed by unknown "
                          "authority"],
    "no-context": ['error: context "kind-gone" does not exist'],
}  # fmt: skip
CASES = [(rule, text) for rule, texts in TEXTS.items() for text in texts]


@pytest.mark.parametrize(("rule", "text"), CASES)
def test_an_error_is_recognised_by_what_its_source_prints(rule: str, text: str) -> None:
    found = explain.recognise(text, release="triton", namespace="triton")
    assert found is not None and found.rule == rule
    assert found.what.endswith((".", ")")) or ":" in found.what
    assert found.next_step


def test_the_explanation_names_what_the_text_named() -> None:
    (conflict, *_), (price, *_) = TEXTS["apply-conflict"], TEXTS["spot-price"]
    told = str(explain.recognise(conflict))
    assert "kubectl-edit" in told and ".spec.template.spec.terminationGracePeriodSeconds" in told
    assert "--force-conflicts" in told
    assert "0.1 $/h is offered, 0.2104 $/h" in str(explain.recognise(price))
    stuck = explain.recognise("STATUS: pending-upgrade", release="triton", namespace="apps")
    assert "helm -n apps rollback triton" in str(stuck)


def test_an_unknown_error_is_quoted_without_its_noise_and_not_guessed_at() -> None:
    text = "WARNING: old kubeconfig\nI1125 noise\nError: something entirely new happened"
    assert explain.recognise(text) is None
    assert str(explain.problem("The upgrade", text)) == (
        "The upgrade failed: Error: something entirely new happened. "
        "Correct that, and repeat the step."
    )
    assert len(str(explain.problem("x", "y" * 5000))) < 600


def test_what_may_pass_is_told_from_what_never_will() -> None:
    passing = explain.problem("The list of nodes", "dial tcp: connect: connection refused")
    assert isinstance(passing, explain.TransientError)
    final = explain.problem("The pods", 'nodes is forbidden: User "x" cannot list resource "y"')
    assert isinstance(final, Problem) and not isinstance(final, explain.TransientError)


def test_every_rule_has_a_name_of_its_own_and_sentences_that_can_be_filled() -> None:
    names = [rule.name for rule in explain.rules()]
    assert len(set(names)) == len(names)
    for rule in explain.rules():
        facts = dict.fromkeys(re.compile(rule.pattern).groupindex, "v")
        for sentence in (rule.what, rule.next_step):
            fields = set(re.findall(r"{(\w+)}", sentence))
            known = {"release", "namespace", "image", "container", "pod", "detail"}
            assert fields <= known | set(facts), rule.name
