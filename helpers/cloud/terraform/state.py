"""The local state: a good copy kept beside it, and put back when a kill tore the file."""

import json
import shutil
from pathlib import Path

STATE, KEPT, BACKUP = "terraform.tfstate", "terraform.tfstate.kept", "terraform.tfstate.backup"
ERRORED = "errored.tfstate"  # where Terraform leaves a state that it could not store


def keep(folder: Path) -> None:
    """Copy the state where it is whole; called after each resource that is done."""
    if _serial(folder / STATE) >= 0:
        temporary = folder / f".{KEPT}.tmp"
        shutil.copy(folder / STATE, temporary)
        if _serial(temporary) >= 0:  # Terraform may have been writing meanwhile
            temporary.replace(folder / KEPT)
        else:
            temporary.unlink()


def mend(folder: Path) -> str:
    """Put the newest whole copy back where the state is torn; returns what was done, or nothing."""
    state = folder / STATE
    if not state.exists() or _serial(state) >= 0:
        return ""
    copies = [folder / KEPT, folder / BACKUP]
    best = max(copies, key=_serial)
    if _serial(best) < 0:
        return "The state is torn and has no whole copy: only the leftover scan knows what stands."
    state.replace(folder / f"{STATE}.torn")
    shutil.copy(best, state)
    return (
        f"The state was torn by a kill; its copy of serial {_serial(best)} is back. "
        "Terraform finds out what has changed since; the leftover scan finds the rest."
    )


def _serial(path: Path) -> int:
    """The serial number of a whole state; -1 where there is none."""
    try:
        return int(json.loads(path.read_text())["serial"])
    except (OSError, ValueError, KeyError, TypeError):
        return -1
