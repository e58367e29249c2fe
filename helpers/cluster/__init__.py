"""Kubernetes: what is rendered, checked, installed, waited for and removed in the cluster.

Access: client, kubeconfig; contract (shared with Terraform). Failures: explain, waits. Releases:
helm, releases, triton_release, load_pods, removal. Checks before them: chart_checks.
Live nodes and stage 02: nodes, gpus. What stages record: records.
"""

__all__ = ["chart_checks", "contract", "gpus", "nodes", "releases", "removal", "triton_release"]
