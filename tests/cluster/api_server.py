"""A small Kubernetes API server with a script: it stores objects, and changes them as told.

It speaks what kubectl, Helm and the official client need of the API's conventions: discovery,
list (with label and field selectors), get, create, replace, the three kinds of patch (all merged),
delete (held up by finalizers), dry run, and errors as `Status`. Nothing in it schedules, runs or
reconciles: tests say with `on` what a controller would have done by the n-th look, and with
`refuse` what goes wrong.
"""

import base64
import contextlib
import json
import re
import ssl
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import yaml
from werkzeug import Request, Response
from werkzeug.serving import make_server

from helpers.cloud import certificate
from helpers.cloud.stack import Stack
from helpers.cluster import nodes
from tests.listening import listening

from . import protobuf

Body = dict[str, Any]
NAMESPACED = {
    "v1": "Pod Event Secret Service ServiceAccount ConfigMap PersistentVolumeClaim",
    "apps/v1": "Deployment DaemonSet ReplicaSet StatefulSet",
    "batch/v1": "Job",
    "networking.k8s.io/v1": "Ingress NetworkPolicy",
    "policy/v1": "PodDisruptionBudget",
    "autoscaling/v2": "HorizontalPodAutoscaler",
    "discovery.k8s.io/v1": "EndpointSlice",
    "monitoring.coreos.com/v1": "ServiceMonitor",
    "elbv2.k8s.aws/v1beta1": "TargetGroupBinding",
}
GLOBAL = {
    "v1": "Node Namespace PersistentVolume",
    "scheduling.k8s.io/v1": "PriorityClass",
    "apiextensions.k8s.io/v1": "CustomResourceDefinition",
    "apiregistration.k8s.io/v1": "APIService",
}
PLURALS = {"Ingress": "ingresses", "NetworkPolicy": "networkpolicies",
           "PriorityClass": "priorityclasses"}  # fmt: skip
# version and plural → kind, and whether it is namespaced
KINDS = {
    (version, PLURALS.get(kind, f"{kind.lower()}s")): (kind, kinds is NAMESPACED)
    for kinds in (NAMESPACED, GLOBAL)
    for version, names in kinds.items()
    for kind in names.split()
}
# kinds whose deletion is answered with the object even when it is gone (ReturnDeletedObject)
RETURNED_WHEN_GONE = ("Pod", "Service", "PersistentVolumeClaim", "PersistentVolume",
                      "ServiceAccount")  # fmt: skip
PATH = re.compile(
    r"^/(?:api/(?P<core>v1)|apis/(?P<version>[^/]+/[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]))?"
    r"(?:/(?P<plural>[^/]+))?(?:/(?P<name>[^/]+))?(?:/(?P<sub>[^/]+))?$"
)


@dataclass
class Server:
    """What the server holds, and how it is reached."""

    authority: Path  # PEM file that its certificate is verified against
    url: str = ""
    # by version, plural, namespace and name
    objects: dict[tuple[str, str, str, str], Body] = field(default_factory=dict)
    logs: dict[tuple[str, str], str] = field(default_factory=dict)  # by pod and container
    tokens: list[str] = field(default_factory=list)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)  # by method and path
    # what happens just before the n-th GET of a path is answered
    changes: dict[tuple[str, int], Callable[[], None]] = field(default_factory=dict)
    # method and pattern of the path → status and message
    refusals: dict[tuple[str, str], tuple[int, str]] = field(default_factory=dict)
    # kind → what its controller does once an object with a finalizer is to go
    controllers: dict[str, Callable[[], Any]] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)  # API versions that it does not have

    def put(self, *bodies: Body) -> None:
        """Store objects as they are, replacing those of the same name."""
        for body in bodies:
            version, kind, meta = body["apiVersion"], body["kind"], body["metadata"]
            plural = next(p for (v, p), (k, _) in KINDS.items() if (v, k) == (version, kind))
            meta.setdefault("generation", 1)
            meta.setdefault("uid", f"{kind}-{meta['name']}")
            self.objects[(version, plural, meta.get("namespace", ""), meta["name"])] = body

    def on(self, path: str, count: int, *bodies: Body) -> None:
        """Store objects just before the `count`-th GET of a path is answered."""
        self.changes[(path, count)] = lambda: self.put(*deepcopy(bodies))

    def autoscale(self, count: int) -> None:
        """Let the autoscaler remove idle GPU nodes just before the `count`-th look at the nodes."""

        def remove() -> None:
            bodies = [body for body in self.objects.values() if body["kind"] in ("Node", "Pod")]
            used = {body.get("spec", {}).get("nodeName") for body in bodies}
            for meta in (body["metadata"] for body in bodies if body["spec"].get("taints")):
                held = meta.get("annotations", {}).get(nodes.HELD) == "true"
                if not held and meta["name"] not in used:
                    self.drop("Node", meta["name"])

        self.changes[("/api/v1/nodes", count)] = remove

    def refuse(self, method: str, pattern: str, status: int, message: str) -> None:
        """Answer requests with an error."""
        self.refusals[(method, pattern)] = (status, message)

    def get(self, kind: str, name: str) -> Body | None:
        """A stored object."""
        wanted = (kind, name)
        bodies = self.objects.values()
        return next((b for b in bodies if (b["kind"], b["metadata"]["name"]) == wanted), None)

    def drop(self, kind: str, name: str) -> None:
        """Take a stored object away, as a controller does that has done its work."""
        gone = self.get(kind, name)
        del self.objects[next(key for key, body in self.objects.items() if body is gone)]

    def eks(self, name: str = "gpu-e2e") -> Stack:
        """The server as an EKS cluster."""
        return Stack.model_construct(
            cluster_name=name, cluster_endpoint=self.url,
            cluster_certificate_authority=base64.b64encode(self.authority.read_bytes()).decode(),
        )  # fmt: skip

    def kubeconfig(self, path: Path, context: str = "test") -> str:
        """A kubeconfig of a user for it, with a fixed token."""
        cluster = {"server": self.url, "certificate-authority": str(self.authority)}
        document = {
            "apiVersion": "v1", "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": "fixed"}}],
            "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
        }  # fmt: skip
        path.write_text(yaml.safe_dump(document))
        return str(path)


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Server]:
    """Serve over TLS on loopback until the block ends."""
    keys = certificate.make(folder, ["localhost"])
    server, context = Server(keys.certificate), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys.certificate, keys.key)

    @Request.application
    def answer(request: Request) -> Response:
        server.tokens.append(request.headers.get("Authorization", ""))
        status, body = _answer(server, request)
        if isinstance(body, str):
            return Response(body, status)
        return Response(json.dumps(body), status, content_type="application/json")

    http = make_server("localhost", 0, answer, threaded=True, ssl_context=context)
    with listening(http):
        server.url = f"https://localhost:{http.port}"
        yield server


Answer = tuple[int, Body | str]


def _answer(server: Server, request: Request) -> Answer:
    method, path = request.method, request.path.rstrip("/")
    server.asked[(method, path)] += 1
    for (verb, pattern), (status, message) in server.refusals.items():
        if verb == method and re.search(pattern, path):
            return status, _status(status, message)
    if method == "GET" and (change := server.changes.get((path, server.asked[(method, path)]))):
        change()
    if path in ("/version", "/api", "/apis") or path.startswith("/openapi"):
        return _about(server, path)
    match = PATH.match(path)
    if match is None:
        return NO_RESOURCE
    version, place = match["core"] or match["version"], match.groupdict()
    if not place["plural"]:
        return _resources(server, version)
    if (version, place["plural"]) not in KINDS or version in server.hidden:
        return NO_RESOURCE
    if place["sub"] == "log":
        return 200, server.logs.get((place["name"], request.args.get("container", "")), "")
    data = request.get_data()
    if "protobuf" in request.mimetype:
        secret = data and place["plural"] == "secrets" and method != "DELETE"
        body = protobuf.secret(data) if secret else {}
    else:
        body = yaml.safe_load(data) or {}
    return _stored(server, method, version, place, request.args, body)


def _stored(
    server: Server, method: str, version: str, place: Body, query: Mapping[str, str], body: Body
) -> Answer:
    kind, namespaced = KINDS[(version, place["plural"])]
    namespace = place["namespace"] or ""
    name = place["name"] or body.get("metadata", {}).get("name", "")
    key = (version, place["plural"], namespace, name)
    stored, dry = server.objects.get(key), query.get("dryRun") == "All"
    if method == "GET" and not place["name"]:
        items = [
            item for (v, p, n, _), item in server.objects.items()
            if (v, p) == key[:2] and namespace in ("", n) and _selected(item, query)
        ]  # fmt: skip
        meta = {"resourceVersion": "1"}
        return 200, {"apiVersion": version, "kind": f"{kind}List", "metadata": meta, "items": items}
    if namespaced and ("v1", "namespaces", "", namespace) not in server.objects:
        return 404, _status(404, f'namespaces "{namespace}" not found', "NotFound")
    if method == "POST" and stored:
        return 409, _status(409, f'{place["plural"]} "{name}" already exists', "AlreadyExists")
    if method in ("GET", "DELETE", "PUT") and not stored:
        return 404, _status(404, f'{place["plural"]} "{name}" not found', "NotFound")
    old = stored or {}
    if method == "GET":
        return 200, old
    if method == "DELETE":
        if old["metadata"].get("finalizers"):
            old["metadata"].setdefault("deletionTimestamp", "2026-11-25T00:00:00Z")
            if kind in server.controllers:
                server.controllers[kind]()
                del server.objects[key]
            return 200, old
        if not dry:
            del server.objects[key]
        if kind == "Namespace":
            return 200, old | {"status": {"phase": "Terminating"}}
        gone = {"apiVersion": "v1", "kind": "Status", "status": "Success"}
        return 200, old if kind in RETURNED_WHEN_GONE else gone
    made = deepcopy(_merged(old, body) if method == "PATCH" else body)
    made |= {"apiVersion": version, "kind": kind}
    made["metadata"] = made.get("metadata", {}) | {"name": name, "resourceVersion": "1"}
    if namespaced:
        made["metadata"]["namespace"] = namespace
    if not dry:
        server.put(made)
    return 201 if method == "POST" else 200, made


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(new, dict):
        return new
    old = old if isinstance(old, dict) else {}
    merged = old | {name: _merged(old.get(name), value) for name, value in new.items()}
    return {name: value for name, value in merged.items() if value is not None}


def _selected(body: Body, query: Mapping[str, str]) -> bool:
    labels = body["metadata"].get("labels", {})
    for selector, value_of in (("labelSelector", labels.get), ("fieldSelector", _field(body))):
        pairs = [pair.split("=") for pair in query.get(selector, "").split(",") if "=" in pair]
        if any(value_of(pair[0]) != pair[-1] for pair in pairs):
            return False
    return True


def _field(body: Any) -> Callable[[str], Any]:
    return lambda path: reduce(lambda part, step: part.get(step, {}), path.split("."), body)


def _about(server: Server, path: str) -> Answer:
    if path == "/version":
        return 200, {"major": "1", "minor": "35", "gitVersion": "v1.35.0"}
    if path == "/api":
        return 200, {"kind": "APIVersions", "versions": ["v1"]}
    if path.startswith("/openapi"):
        return _openapi(path)
    groups = []
    for group in sorted({v for v, _ in KINDS if "/" in v} - server.hidden):
        name, _, number = group.partition("/")
        version = {"groupVersion": group, "version": number}
        groups.append({"name": name, "versions": [version], "preferredVersion": version})
    return 200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def _openapi(path: str) -> Answer:
    """Only what tells a client that the server validates fields itself."""
    places = {v: f"apis/{v}" if "/" in v else f"api/{v}" for v, _ in KINDS}
    if path == "/openapi/v3":
        urls = {place: {"serverRelativeURL": f"/openapi/v3/{place}"} for place in places.values()}
        return 200, {"paths": urls}
    paths = {}
    for (version, plural), (kind, namespaced) in KINDS.items():
        if path == f"/openapi/v3/{places[version]}":
            group, _, name = version.rpartition("/")
            patch = {
                "parameters": [{"name": "fieldValidation", "in": "query"}], "responses": {},
                "x-kubernetes-group-version-kind": {"group": group, "version": name, "kind": kind},
            }  # fmt: skip
            where = "namespaces/{namespace}/" if namespaced else ""
            paths[f"/{places[version]}/{where}{plural}/{{name}}"] = {"patch": patch}
    about = {"title": "scripted", "version": "1"}
    return (200, {"openapi": "3.0.0", "info": about, "paths": paths}) if paths else NO_RESOURCE


def _resources(server: Server, version: str) -> Answer:
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    resources = [
        {"name": plural, "singularName": "", "kind": kind, "namespaced": namespaced, "verbs": verbs}
        for (v, plural), (kind, namespaced) in KINDS.items()
        if v == version and v not in server.hidden
    ]
    if not resources:
        return NO_RESOURCE
    body = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version}
    return 200, body | {"resources": resources}


def _status(code: int, message: str, reason: str = "") -> Body:
    return {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    }  # fmt: skip


NO_RESOURCE: Answer = 404, _status(404, "the server could not find the requested resource")
