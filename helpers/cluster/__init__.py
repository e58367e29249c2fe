"""Kubernetes: what is rendered, checked, installed, waited for and removed in the cluster.

- `contract`: what Terraform, charts and tests share; `client`, `kubeconfig`: access to the cluster
- `explain`, `waits`: errors by their text (`explanations.yaml`), and why something is not ready
- `helm`: the program; `releases`: the lock file, values, install, rehearse, uninstall
- `nodes`, `gpus`: live nodes and stage 02; `planned_nodes`: the plan's nodes, and which pods fit
- `chart_checks`, `triton_release`: Triton's chart unapplied and deployed; `load_pods`: the load's
- `removal`: all of it removed; `records`: what the stages record
"""

__all__ = ["chart_checks", "contract", "gpus", "nodes", "releases", "removal", "triton_release"]
