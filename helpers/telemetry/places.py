"""Where dashboards and rules lie in the checkout: one source for cluster and rehearsal."""

from helpers.paths import ROOT

CHART = ROOT / "k8s" / "charts" / "observability"
DASHBOARDS = ROOT / "k8s" / "dashboards"
RULES = ROOT / "k8s" / "rules"
