"""Finds secrets in committed files: keys, account ids, tokens, paths of one machine."""

import re
import subprocess
from pathlib import Path

PATTERNS = {
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"),
    "an AWS account id": re.compile(r"(?:arn:aws[\w-]*:[\w-]*:[\w-]*:)\d{12}\b|\b\d{12}\.dkr\.ecr"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a token": re.compile(r"\b(?:ghp|gho|ghs|glsa)_\w{20,}\b"),
    "a path of one machine": re.compile(r"(?:/home/|/Users/)\w+/|/[r]oot/"),
}
EXAMPLE = "123456789012"  # AWS's own documentation uses this account


def faults(root: Path) -> list[str]:
    """One sentence for each finding in a file that git tracks or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [root / name for name in listed.stdout.split("\0") if name]
    return [fault for path in paths if path.is_file() for fault in in_file(path, root)]


def in_file(path: Path, root: Path) -> list[str]:
    """One sentence for each line of a text file that contains a secret."""
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError:
        return []
    where = path.relative_to(root)
    return [
        f"{where}:{number} holds {what}"
        for number, line in enumerate(lines, 1)
        for what, pattern in PATTERNS.items()
        if pattern.search(line) and EXAMPLE not in line
    ]
