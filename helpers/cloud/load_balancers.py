"""The load balancer's end: made by its controller, unknown to Terraform, it holds up the VPC."""

import time
from collections.abc import Callable

from helpers.cloud import leftovers, sweep
from helpers.cloud.account import Account, asking
from helpers.cloud.leftovers import Found
from helpers.cloud.reports import Stack
from helpers.errors import Problem
from helpers.run import Record, Run, now

KINDS = ("load balancer", "classic load balancer", "target group")
BALANCERS = KINDS[:2]
# The controller takes a minute or two; network interfaces follow within five.
ROUNDS, PAUSE_S = 45, 10.0


class LoadBalancersGone(Record, stage="06", name="load-balancers"):
    """What became of the run's load balancers.

    Attributes:
        at: When, UTC.
        seen: How many there were when it began.
        by_controller: How many went on their own, once their Ingress was gone.
        swept: How many load balancers and target groups had to be removed here.
    """

    at: str
    seen: int
    by_controller: int
    swept: int

    @property
    def summary(self) -> str:
        """One sentence: how many there were, and who removed them."""
        if not self.seen:
            return "there was no load balancer"
        return (
            f"{self.seen} load balancers are gone: {self.by_controller} removed by their "
            f"controller; {self.swept} load balancers and target groups removed here"
        )


def look(run: Run, account: Account) -> tuple[Found, ...]:
    """The run's load balancers and target groups; the meter counts them from here on.

    Raises:
        Problem: They cannot be listed.
    """
    stack = run.find(Stack)
    seen = leftovers.scan(run, account, vpcs=[stack.vpc_id] if stack else [], only=KINDS)
    if seen.not_scanned:
        raise Problem(
            f"The load balancers cannot be listed: {seen.not_scanned[0].problem}.",
            "They cost by the hour and block the VPC's removal: allow what is refused, and repeat.",
        )
    count = _balancers(seen.found)
    before = run.events("load-balancers")
    if count != (before[-1]["count"] if before else 0):
        run.event("load-balancers", count=count, source="ELBv2")
    return seen.found


def remove(
    run: Run,
    account: Account,
    *,
    controller: bool = False,
    rounds: int = ROUNDS,
    sleep: Callable[[float], None] = time.sleep,
) -> LoadBalancersGone:
    """Wait until the run's load balancers are gone; remove those that nobody removes.

    Args:
        run: Whose load balancers they are; the result is stored with it.
        account: Where.
        controller: Whether a controller is at work that removes them, its Ingress being gone.
        rounds: How often to look.
        sleep: How the pause in between is waited out.

    Raises:
        Problem: One is left that does not carry the run's tag, or does not go.
    """
    left = look(run, account)
    seen = _balancers(left)
    for _ in range(rounds if controller and left else 0):
        sleep(PAUSE_S)
        left = look(run, account)
        if not left:
            break
    by_controller, swept = seen - _balancers(left), 0
    if left:
        made = sweep.attempt(run, account, left, rounds=rounds, sleep=sleep)
        swept = made.count("removed")
        _refuse(look(run, account))
    _await_interfaces(run, account, rounds, sleep)
    gone = LoadBalancersGone(at=now(), seen=seen, by_controller=by_controller, swept=swept)
    run.save(gone)
    return gone


def _balancers(found: tuple[Found, ...]) -> int:
    return sum(one.kind in BALANCERS for one in found)


def _refuse(left: tuple[Found, ...]) -> None:
    if left:
        commands = "\n".join(one.command for one in left)
        raise Problem(
            f"{len(left)} load balancers or target groups of this cluster are left, and not "
            "carrying this run's tag they are not removed for you.",
            f"Remove them, and run 06 again:\n{commands}",
        )


def _await_interfaces(
    run: Run, account: Account, rounds: int, sleep: Callable[[float], None]
) -> None:
    """A load balancer's network interfaces outlive it by minutes, and hold subnets."""
    stack = run.find(Stack)
    if stack is None:
        return
    for number in range(rounds):
        names = _interfaces(account, stack.vpc_id)
        if not names:
            return
        if number == 0:
            print(f"Waiting for {len(names)} network interfaces of load balancers to go.")
        sleep(PAUSE_S)
    raise Problem(
        f"Network interfaces of a load balancer are still there: {', '.join(names)}.",
        "AWS removes them on its own, which can take 15 minutes; then run 06 again.",
    )


def _interfaces(account: Account, vpc: str) -> list[str]:
    pages = account.client("ec2").get_paginator("describe_network_interfaces")
    wanted = [
        {"Name": "vpc-id", "Values": [vpc]},
        {"Name": "description", "Values": ["ELB *"]},
    ]
    with asking("the network interfaces of load balancers"):
        return [
            str(one["NetworkInterfaceId"])
            for page in pages.paginate(Filters=wanted)
            for one in page["NetworkInterfaces"]
        ]
