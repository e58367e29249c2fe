"""AWS: the account, the stack in it, what it costs, and the proof that nothing is left.

account: clients, the caller, AWS errors as sentences
preflight: readiness checks before anything is created (stage 00)
certificate: the load balancer's self-signed certificate
prices: list prices, Pricing API, spot price history
plan: the reader of `terraform show -json`, and a plan's record
costs: the cost model: rates of a plan, estimate, bill
terraform: plan, apply and destroy in a run's folder
terraform_process: the process, its progress, its errors in plain words
stack: Terraform's outputs, and the stack as the account describes it
guardrails: gates before an apply, dead man's switch, budget and alarm
meter: spent so far, US$ an hour, and the cost report
cost_explorer: predicted against billed, and the cost audit
resource_kinds: how each kind of resource is listed and removed (`kinds.yaml`)
leftovers: the scan for what a run has left
sweep: removal of leftovers and load balancers
zero: the destroy, and the zero certificate
"""

__all__ = [
    "cost_explorer",
    "guardrails",
    "leftovers",
    "meter",
    "plan",
    "preflight",
    "prices",
    "stack",
    "sweep",
    "terraform",
    "zero",
]
