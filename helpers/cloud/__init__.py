"""AWS: the account, the stack in it, what it costs, and the proof that nothing is left.

Before an apply: account, preflight, certificate, prices, plan, costs, guardrails.
The stack: terraform (on terraform_process), stack. While it exists: meter, cost_explorer.
Its end: zero, with leftovers and sweep, which know AWS by resource_kinds.
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
