"""Kubernetes: what is rendered, checked, installed, waited for and removed in the cluster.

- `contract`: taint, label, namespaces and ports that Terraform, charts and tests share
- `client`: the cluster and its errors; `kubeconfig`: access to it, without the AWS CLI
- `explain`: errors by their text (`explanations.yaml`)
- `waits`: waiting, and why something is not ready
- `helm`: the program; `releases`: the lock file, values, install, rehearse, uninstall
- `nodes`: live nodes and node groups; `gpus`: stage 02 with allocatable GPUs and the taint
- `planned_nodes`: the plan's nodes, and which pods fit; `chart_checks`: Triton's chart, unapplied
- `triton_release`: deployment, rollout and load balancer; `load_pods`: the load's pods
- `removal`: all of it removed; `records`: what the stages record

What Kubernetes, Helm or AWS refuse is raised as `Problem`: the reason, and the next step.
"""

__all__ = [
    "chart_checks",
    "contract",
    "gpus",
    "nodes",
    "releases",
    "removal",
    "triton_release",
]
