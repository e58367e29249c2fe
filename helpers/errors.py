"""Exceptions whose message is meant for the user."""


class Problem(Exception):
    """An error that the user can act on: what is wrong, and the next step (may be empty).

    >>> print(Problem("Profile 'moon' does not exist.", "Choose rehearsal or aws."))
    Profile 'moon' does not exist. Choose rehearsal or aws.
    """

    def __init__(self, what: str, next_step: str = "") -> None:
        super().__init__(f"{what} {next_step}".strip())
        self.what = what
        self.next_step = next_step


class Unavailable(Problem):
    """Something this machine does not have: the stage is NOT RUN, and the run continues."""
