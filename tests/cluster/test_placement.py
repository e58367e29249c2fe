"""Pods are placed as kube-scheduler's filters place them."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.cluster import contract, placement, planned
from helpers.cluster.capacity import Node
from helpers.cluster.fields import Field
from helpers.cluster.filters import Candidate, State
from helpers.cluster.machines import GIB, machine
from helpers.cluster.objects import Objects, Pod, Resource
from helpers.profile import Profile

GPU = contract.load().gpu
ZONE = "topology.kubernetes.io/zone"


def node(name: str, **changes: Any) -> Node:
    gpus = changes.pop("gpus", 0)
    amounts = {"cpu": Fraction(4), "memory": Fraction(8 * GIB), "pods": Fraction(10)}
    known: dict[str, Any] = {
        "labels": {"kubernetes.io/hostname": name, ZONE: f"zone-{name}"},
        "taints": (),
        "allocatable": amounts | ({GPU.resource: Fraction(gpus)} if gpus else {}),
    }
    return Node(name, **known | changes)


def gpu_node(name: str) -> Node:
    labels = {"kubernetes.io/hostname": name, ZONE: f"zone-{name}", **GPU.label.selector}
    return node(name, gpus=1, labels=labels, taints=(GPU.taint.object,))


def pod(name: str, kind: str = "Pod", **spec: Any) -> dict[str, Any]:
    requests = spec.pop("requests", {"cpu": "1"})
    container = {"name": "one", "resources": {"requests": requests}, **spec.pop("container", {})}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container], **spec}}
    if kind == "Pod":
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name,
                "labels": {"app": name}}, "spec": template["spec"]}  # fmt: skip
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
            "spec": {"template": template}}  # fmt: skip


def on_gpu(name: str) -> dict[str, Any]:
    requests = {"cpu": "1", GPU.resource: "1"}
    return pod(name, requests=requests, nodeSelector=GPU.label.selector,
               tolerations=[GPU.taint.toleration])  # fmt: skip


def placed(bodies: list[dict[str, Any]], *nodes: Node) -> list[tuple[str, str]]:
    return [(one.node, one.why) for one in placement.place(Objects.of(bodies), nodes)]


def test_a_gpu_pod_goes_to_the_gpu_node_and_others_stay_away() -> None:
    found = placed([on_gpu("a"), pod("b")], node("cpu"), gpu_node("gpu"))
    assert [name for name, _ in found] == ["gpu", "cpu"]


def test_two_pods_do_not_share_one_gpu() -> None:
    first, second = placed([on_gpu("a"), on_gpu("b")], node("cpu"), gpu_node("gpu"))
    assert first == ("gpu", "")
    affinity = "1 node(s) didn't match Pod's node affinity/selector"
    assert second == (
        "",
        f"0/2 nodes are available: 1 Insufficient {GPU.resource}, {affinity}.",
    )


def test_the_taint_keeps_a_pod_out_in_the_scheduler_s_words() -> None:
    ((name, why),) = placed([pod("a")], gpu_node("gpu"))
    taint = f"{{{GPU.taint.key}: {GPU.taint.value}}}"
    assert (name, why) == (
        "",
        f"0/1 nodes are available: 1 node(s) had untolerated taint {taint}.",
    )


@pytest.mark.parametrize(
    ("toleration", "bears"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"key": "gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "gpu", "value": "true"}, True),
        ({"key": "gpu", "value": "false"}, False),
        ({"key": "cpu", "operator": "Exists"}, False),
    ],
)
def test_tolerations_bear_what_they_say(toleration: dict[str, str], bears: bool) -> None:
    taint = {"key": "gpu", "value": "true", "effect": "NoSchedule"}
    ((name, _),) = placed([pod("a", tolerations=[toleration])], node("n", taints=(taint,)))
    assert (name == "n") is bears


def test_no_execute_keeps_out_and_prefer_no_schedule_does_not() -> None:
    hard = {"key": "k", "value": "", "effect": "NoExecute"}
    soft = {"key": "k", "value": "", "effect": "PreferNoSchedule"}
    assert placed([pod("a")], node("n", taints=(hard,)))[0][0] == ""
    assert placed([pod("a")], node("n", taints=(soft,)))[0][0] == "n"
    assert placed([pod("a")], node("a-soft", taints=(soft,)), node("z"))[0][0] == "z"


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ({"key": "n", "operator": "Gt", "values": ["4"]}, True),
        ({"key": "n", "operator": "Lt", "values": ["5"]}, False),
        ({"key": "n", "operator": "In", "values": ["5", "6"]}, True),
        ({"key": "x", "operator": "NotIn", "values": ["5"]}, True),
        ({"key": "x", "operator": "Exists"}, False),
        ({"key": "x", "operator": "DoesNotExist"}, True),
    ],
)
def test_node_affinity_is_evaluated(expression: dict[str, Any], matches: bool) -> None:
    found = placed([pod("a", affinity=_required([expression], []))], node("m", labels={"n": "5"}))
    assert (found[0][0] == "m") is matches


def test_match_fields_choose_by_name_and_terms_are_alternatives() -> None:
    by_name = {"key": "metadata.name", "operator": "In", "values": ["b"]}
    found = placed([pod("p", affinity=_required([], [by_name]))], node("a"), node("b"))
    assert found[0][0] == "b"


def _required(expressions: list[Any], fields: list[Any]) -> dict[str, Any]:
    term = {"matchExpressions": expressions, "matchFields": fields}
    terms = {"nodeSelectorTerms": [{"matchExpressions": []}, term]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def test_pods_that_avoid_each_other_take_a_node_each() -> None:
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"t": "x"}}}
    avoid = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    bodies = [pod(name, affinity=avoid) for name in "abc"]
    for one in bodies:
        one["metadata"]["labels"]["t"] = "x"
    found = placed(bodies, node("m"), node("n"))
    assert sorted(name for name, _ in found) == ["", "m", "n"]
    assert "2 node(s) didn't match pod anti-affinity rules" in found[2][1]


def test_zones_are_filled_evenly_where_they_must_be() -> None:
    constraint = {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule",
                  "labelSelector": {"matchLabels": {"app": "d"}}}  # fmt: skip
    deployment = pod("d", "Deployment", topologySpreadConstraints=[constraint])
    deployment["spec"]["replicas"] = 4
    found = placed([deployment], node("m"), node("n"))
    assert sorted(name for name, _ in found) == ["m", "m", "n", "n"]


def test_a_host_port_is_taken_once_a_node() -> None:
    ports = {"ports": [{"containerPort": 80, "hostPort": 80}]}
    found = placed([pod("a", container=ports), pod("b", container=ports)], node("n"))
    assert found[0][0] == "n"
    assert "1 node(s) didn't have free ports for the requested pod ports" in found[1][1]


def test_a_daemon_set_that_wants_no_node_is_told() -> None:
    body = pod("d", "DaemonSet", nodeSelector={"pci-10de.present": "true"})
    ((name, why),) = placed([body], node("m"), gpu_node("g"))
    assert name == ""
    assert why.startswith("the DaemonSet wants 0 pods: 0/2 nodes are available")


def test_a_daemon_set_s_pods_take_their_share_first() -> None:
    daemon = pod("d", "DaemonSet", requests={"cpu": "2"})
    found = placed([pod("a", requests={"cpu": "3"}), daemon], node("n"))
    assert [name for name, _ in found] == ["n", ""]
    assert "1 Insufficient cpu" in found[1][1]


def test_init_containers_sidecars_and_overhead_count_as_the_scheduler_counts() -> None:
    init = [{"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}},
            {"name": "i", "resources": {"requests": {"cpu": "2500m"}}}]  # fmt: skip
    assert placed([pod("a", initContainers=init, requests={"cpu": "1"})], node("n"))[0][0] == "n"
    over = pod("a", initContainers=init, overhead={"cpu": "600m"})
    assert "1 Insufficient cpu" in placed([over], node("n"))[0][1]


def test_the_more_important_pod_comes_first() -> None:
    bodies = [
        {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
         "metadata": {"name": "high"}, "value": 10},
        on_gpu("a"),
        on_gpu("b"),
    ]  # fmt: skip
    bodies[2]["spec"]["priorityClassName"] = "high"
    found = placement.place(Objects.of(bodies), [gpu_node("gpu")])
    assert [(one.pod, one.node) for one in found] == [
        ("Pod default/b", "gpu"),
        ("Pod default/a", ""),
    ]


def test_planned_nodes_leave_room_for_the_kubelet() -> None:
    profile = Profile.load_named("rehearsal")
    cluster = planned.from_contract(contract.load(), profile.infrastructure, profile.region)
    (gpu,) = (one for one in cluster.nodes if one.allocatable.get(GPU.resource))
    whole = machine(GPU.instance_types[0])
    assert gpu.allocatable["cpu"] == Fraction(3920, 1000)
    assert 0.85 * whole.memory_mib < gpu.allocatable["memory"] / 2**20 < whole.memory_mib
    assert gpu.labels[GPU.label.key] == GPU.label.value
    assert gpu.taints == (GPU.taint.object,)


# An independent formulation of the four filters that decide most: plain dictionaries, whole
# numbers, nothing shared with the code that is tested.
KEYS, VALUES, EFFECTS = "ab", "xy", ("NoSchedule", "PreferNoSchedule", "NoExecute")
taints = st.lists(
    st.fixed_dictionaries(
        {"key": st.sampled_from(KEYS), "value": st.sampled_from(VALUES),
         "effect": st.sampled_from(EFFECTS)}),
    max_size=2,
)  # fmt: skip
tolerations = st.lists(
    st.one_of(
        st.fixed_dictionaries({"operator": st.just("Exists")}),
        st.fixed_dictionaries({"key": st.sampled_from(KEYS), "operator": st.just("Exists")},
                              optional={"effect": st.sampled_from(EFFECTS)}),
        st.fixed_dictionaries({"key": st.sampled_from(KEYS), "value": st.sampled_from(VALUES)},
                              optional={"effect": st.sampled_from(EFFECTS)}),
    ),
    max_size=2,
)  # fmt: skip
labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(("1", "2", "3")))
expressions = st.lists(
    st.one_of(
        st.fixed_dictionaries({"key": st.sampled_from(KEYS),
                               "operator": st.sampled_from(("In", "NotIn")),
                               "values": st.lists(st.sampled_from("123"), min_size=1)}),
        st.fixed_dictionaries({"key": st.sampled_from(KEYS),
                               "operator": st.sampled_from(("Exists", "DoesNotExist"))}),
        st.fixed_dictionaries({"key": st.sampled_from(KEYS),
                               "operator": st.sampled_from(("Gt", "Lt")),
                               "values": st.lists(st.sampled_from("123"), min_size=1,
                                                  max_size=1)}),
    ),
    max_size=2,
)  # fmt: skip
machines = st.fixed_dictionaries(
    {"taints": taints, "labels": labels, "cpu": st.integers(1, 4), "gpus": st.integers(0, 2)}
)
asked = st.fixed_dictionaries(
    {"tolerations": tolerations, "selector": st.one_of(st.just({}), labels),
     "terms": st.lists(expressions, max_size=2), "cpu": st.integers(0, 4),
     "gpus": st.integers(0, 2)}
)  # fmt: skip


def naive_holds(expression: dict[str, Any], has: dict[str, str]) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values", [])
    if operator == "DoesNotExist":
        return key not in has
    if operator == "NotIn":
        return key not in has or has[key] not in values
    if key not in has:
        return False
    if operator == "Gt":
        return int(has[key]) > int(values[0])
    if operator == "Lt":
        return int(has[key]) < int(values[0])
    return operator == "Exists" or has[key] in values


def naive_fits(pod: dict[str, Any], machine: dict[str, Any], cpu: int, gpus: int) -> bool:
    def borne(taint: dict[str, str]) -> bool:
        for one in pod["tolerations"]:
            if "effect" in one and one["effect"] != taint["effect"]:
                continue
            if "key" in one and one["key"] != taint["key"]:
                continue
            if "value" in one and one["value"] != taint["value"]:
                continue
            return True
        return False

    hard = [one for one in machine["taints"] if one["effect"] != "PreferNoSchedule"]
    terms = [one for one in pod["terms"] if one]
    return (
        all(map(borne, hard))
        and all(machine["labels"].get(key) == value for key, value in pod["selector"].items())
        and (not pod["terms"] or any(all(naive_holds(e, machine["labels"]) for e in t)
                                     for t in terms))
        and pod["cpu"] <= cpu
        and pod["gpus"] <= gpus
    )  # fmt: skip


def as_pod(number: int, wanted: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {"tolerations": wanted["tolerations"]}
    spec["nodeSelector"] = wanted["selector"]
    requests = {"cpu": str(wanted["cpu"]), GPU.resource: str(wanted["gpus"])}
    if wanted["terms"]:
        terms = {"nodeSelectorTerms": [{"matchExpressions": one} for one in wanted["terms"]]}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": terms}
        spec["affinity"] = {"nodeAffinity": required}
    return pod(f"p{number}", requests=requests, **spec)


def as_node(number: int, machine: dict[str, Any]) -> Node:
    amounts = {"cpu": Fraction(machine["cpu"]), "pods": Fraction(20),
               GPU.resource: Fraction(machine["gpus"])}  # fmt: skip
    return Node(f"n{number}", machine["labels"], tuple(machine["taints"]), amounts)


@settings(max_examples=300, deadline=None)
@given(
    pods=st.lists(asked, min_size=1, max_size=4), hosts=st.lists(machines, min_size=1, max_size=3)
)
def test_pods_in_sequence_are_placed_as_an_independent_formulation_allows(
    pods: list[dict[str, Any]], hosts: list[dict[str, Any]]
) -> None:
    nodes = [as_node(number, one) for number, one in enumerate(hosts)]
    left = {f"n{number}": [one["cpu"], one["gpus"]] for number, one in enumerate(hosts)}
    by_name = {f"n{number}": one for number, one in enumerate(hosts)}
    state = State(tuple(nodes))
    for number, wanted in enumerate(pods):
        body = as_pod(number, wanted)
        candidate = Candidate(body["metadata"]["name"], Pod(Resource(body), Field(body)))
        found, state = placement.schedule(candidate, state)
        fitting = {name for name, (cpu, gpus) in left.items()
                   if naive_fits(wanted, by_name[name], cpu, gpus)}  # fmt: skip
        assert (found.node in fitting) if fitting else found.node == ""
        if found.node:
            left[found.node][0] -= wanted["cpu"]
            left[found.node][1] -= wanted["gpus"]
        else:
            assert found.why.startswith(f"0/{len(nodes)} nodes are available: ")
