"""What must hold before anything is created: the account is ready, and the budget suffices."""

from helpers.cloud.plan import PlanFacts
from helpers.cloud.readiness import Readiness
from helpers.errors import Problem
from helpers.run import Run


def admit(run: Run, facts: PlanFacts) -> None:
    """Let an apply begin, or say why not.

    Raises:
        Problem: The readiness report is missing or not green and the profile does not override
            it, a price is not known, or the session may cost more than the profile allows.
    """
    if facts.changes:
        _ready(run)
        _affordable(facts)


def _ready(run: Run) -> None:
    report = run.find(Readiness)
    if run.profile.infrastructure.override_readiness:
        return
    if report is None:
        raise Problem(
            "Nothing is created before the account has been looked at.",
            "Run 00-setup for this run: it writes the readiness report.",
        )
    if report.blocking:
        names = "; ".join(f"{one.title}: {one.found}" for one in report.blocking)
        raise Problem(
            f"Nothing is created: the readiness report is not green ({names}).",
            f"Next: {report.blocking[0].command} — then run 00-setup again, or begin a run with "
            "infrastructure.override_readiness=true.",
        )


def _affordable(facts: PlanFacts) -> None:
    cost = facts.cost
    if cost.unpriced:
        raise Problem(
            f"Nothing is created: no price is known for {', '.join(cost.unpriced)}.",
            "Add it to helpers/cloud/price_tables: a price, or the reason why it is free.",
        )
    if not cost.within_budget:
        raise Problem(
            f"Nothing is created: a session of {cost.session_hours:g} h may cost "
            f"${cost.session_most_usd:.2f}, and kpis.cost_usd allows ${cost.budget_usd:.2f}.",
            "Shorten infrastructure.ttl_hours, lower infrastructure.gpu.max_nodes or "
            "max_price_usd, or raise kpis.cost_usd.",
        )
