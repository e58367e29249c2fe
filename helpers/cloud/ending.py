"""The end of a stack: destroyed as often as it takes, and said plainly what that proves."""

from helpers.cloud.terraform import Workspace
from helpers.run import Record, Run, now

RESTARTED = (
    "The emulator in which the stack stood has ended and begun anew: its account is empty, "
    "whatever was left."
)


class Teardown(Record, stage="06", name="teardown"):
    """What was destroyed.

    Attributes:
        at: When, UTC.
        emulated: Whether an emulator stood for AWS.
        created: Whether this run ever created anything.
        destroyed: How many resources the state held before.
        standing: What the state still holds.
        doubt: Why all this proves nothing; empty where it does.
    """

    at: str
    emulated: bool
    created: bool
    destroyed: int
    standing: tuple[str, ...]
    doubt: str

    @property
    def holds(self) -> bool:
        """Whether the state is empty."""
        return not self.standing

    @property
    def absent(self) -> str:
        """Why nothing here could show that a stack can be destroyed; empty where it could."""
        return self.doubt or ("" if self.created else "this run has created nothing")

    @property
    def summary(self) -> str:
        """One sentence: how much was destroyed, and what stands."""
        if not self.created:
            return "this run has created nothing; there is nothing to destroy"
        done = f"{self.destroyed} resources destroyed" if self.destroyed else "already destroyed"
        left = f"{len(self.standing)} still in the state" if self.standing else "the state is empty"
        return f"{done}, {left}{' (EMULATED)' if self.emulated else ''}"


def destroy(run: Run, workspace: Workspace, *, doubt: str = "") -> Teardown:
    """Destroy the stack, whatever is left of it; safe to repeat at any point.

    Args:
        run: Whose stack it is; the result is stored with it.
        workspace: Terraform of the run.
        doubt: Why it proves nothing; empty where it does.

    Raises:
        Problem: Terraform fails; what is left is still in its state, and can be destroyed again.
    """
    destroyed = workspace.destroy()
    made = Teardown(
        at=now(),
        emulated=workspace.account.emulated,
        created=bool(run.events("stack-apply-start")),
        destroyed=destroyed,
        standing=workspace.standing(),
        doubt=doubt,
    )
    run.save(made)
    return made


def doubt(run: Run, emulator: str) -> str:
    """Why an empty account proves nothing: the emulator that held the stack has ended since.

    Args:
        run: Whose stack it is.
        emulator: Name of the emulator's service in the run.

    Returns:
        One sentence; empty where the same account is looked at that held the stack.
    """
    standing, found = False, ""
    for event in run.events():
        kind = event["kind"]
        if kind == "stack-apply-start":
            standing, found = True, ""
        elif kind == "stack-destroy-stop" and event.get("outcome") == "finished":
            standing = False
        elif kind == "service-started" and event.get("service") == emulator and standing:
            found = RESTARTED
    return found
