"""Terraform called in its folder: with progress, or to read something."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from helpers.cloud.account import Account
from helpers.cloud.terraform import errors, process, state
from helpers.cloud.terraform.progress import Progress
from helpers.processes import MARK

CODE = "infra"
READ_TIMEOUT_S = 120
CONFIGURATION = "TF_CLI_CONFIG_FILE"


@dataclass(frozen=True)
class Terraform:
    """The program, the folder it works in, and the account it reaches.

    Attributes:
        program: Terraform.
        folder: The run's folder `terraform/`; the code is in `infra/` in it.
        account: Where resources stand.
        mark: What the run's processes carry in their environment.
    """

    program: Path
    folder: Path
    account: Account
    mark: str

    @property
    def code(self) -> Path:
        """The copy of `infra/` in which Terraform runs."""
        return self.folder / CODE

    def do(
        self,
        doing: str,
        arguments: Sequence[str],
        progress: Progress,
        further: dict[str, str] | None = None,
    ) -> None:
        """Run a command that may take long, and show its progress.

        Args:
            doing: What it is to do, for the sentence when it fails.
            arguments: Command and options; `-json` among them.
            progress: Takes in what it says.
            further: Variables added to its environment.

        Raises:
            Problem: It failed; the sentence has Terraform's own words.
            KeyboardInterrupt: The caller was interrupted; the state is written.
        """

        def show(line: str) -> None:
            done = progress.done
            if shown := progress.read(line):
                print(shown, flush=True)
            if progress.done > done:
                state.keep(self.folder)

        log = f"{arguments[0]}.log"
        command = process.Command(
            line=[self.program, *arguments],
            folder=self.code,
            environment=self._environment() | (further or {}),
            log=self.folder / log,
            record=self.folder / process.RECORD,
        )
        if process.run(command, show):
            raise errors.problem(doing, progress, f"{self.folder.name}/{log}")

    def ask(self, doing: str, arguments: Sequence[str]) -> str:
        """Run a command that only reads, and return what it prints.

        Raises:
            Problem: It failed.
        """
        ended = subprocess.run(
            [self.program, *arguments],
            cwd=self.code,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=READ_TIMEOUT_S,
        )
        if ended.returncode:
            complained = Progress(other=[" ".join(ended.stderr.replace("│", " ").split())])
            raise errors.problem(doing, complained, self.folder.name)
        return ended.stdout

    def settle(self) -> None:
        """End what a killed notebook left running, and mend the state it may have torn.

        Raises:
            Problem: Terraform works on this run for another notebook, or does not end.
        """
        process.settle(self.folder / process.RECORD)
        if said := state.mend(self.folder):
            print(said)

    def _environment(self) -> dict[str, str]:
        """Nothing that a user has set for Terraform elsewhere changes what happens here."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
        configuration = os.environ.get(CONFIGURATION, "")
        if configuration and Path(configuration).is_file():
            kept[CONFIGURATION] = configuration
        ours = {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", MARK: self.mark}
        return self.account.surroundings(kept) | ours
