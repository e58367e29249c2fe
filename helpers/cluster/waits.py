"""Waiting that shows how far it is, and says why when it was in vain."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from helpers.cluster.explain import Passing
from helpers.errors import Problem

HEARTBEAT_S = 30.0


@dataclass(frozen=True)
class Seen:
    """What one look found.

    Attributes:
        done: Whether what is waited for has come about.
        text: How far it is, as people read it.
        fatal: Why waiting longer is of no use; empty where it may be.
    """

    done: bool
    text: str
    fatal: str = ""


class Clock(Protocol):
    """Time, as a wait needs it; the module `time` is one."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def sleep(self, seconds: float) -> None:
        """Wait so long."""


@dataclass(frozen=True)
class Pace:
    """How a wait goes.

    Attributes:
        timeout_s: How long at most, seconds.
        every_s: Seconds between two looks.
        say: Shows a line of progress.
        clock: Whose time it is.
    """

    timeout_s: float
    every_s: float = 1.0
    say: Callable[[str], None] = print
    clock: Clock = time


def until(what: str, look: Callable[[], Seen], why: Callable[[], str], pace: Pace) -> Seen:
    """Look again and again until it is done; each change is shown, and silence is not kept long.

    Args:
        what: What is waited for, as in `nodes Ready`.
        look: One look. A `Passing` error of its counts as "not yet".
        why: Asked once when the time is over; the reason, with the next step.
        pace: Time-out, interval and where progress goes.

    Returns:
        The look that was done.

    Raises:
        Problem: The time is over, or waiting longer is of no use.
    """
    begin = pace.clock.monotonic()
    shown, shown_at = "", begin
    while True:
        seen = _look(look)
        now = pace.clock.monotonic()
        if seen.text != shown or now - shown_at >= HEARTBEAT_S:
            pace.say(f"{now - begin:5.0f} s  {what}: {seen.text}")
            shown, shown_at = seen.text, now
        if seen.done:
            return seen
        if seen.fatal:
            raise Problem(f"{what}: {seen.text}.", seen.fatal)
        if now - begin >= pace.timeout_s:
            raise Problem(f"{what}: not after {pace.timeout_s:g} s ({seen.text}).", _reason(why))
        pace.clock.sleep(pace.every_s)


def _look(look: Callable[[], Seen]) -> Seen:
    try:
        return look()
    except Passing as error:
        return Seen(False, error.what.rstrip("."))


def _reason(why: Callable[[], str]) -> str:
    """Why it did not come about; that the reason cannot be had is no reason to say nothing."""
    try:
        return why() or "No reason is known: nothing has reported an error."
    except Problem as error:
        return f"The reason cannot be asked for: {error}"
