"""Every check that needs no run: lint, types, layers, notebooks, secrets, size."""

import subprocess
import sys
import tempfile
from pathlib import Path

import dashboards
import guides
import leaks
import size

import notebooks

ROOT = Path(__file__).resolve().parent.parent
TYPED = ("helpers", "model", "ci", "tests", "benchmarks")
PROGRAMS = Path(sys.executable).parent


def main() -> int:
    """Run all checks, even after a failure; returns how many failed."""
    with tempfile.TemporaryDirectory() as folder:
        scripts = notebooks.as_scripts(ROOT / "notebooks", Path(folder))
        results = [
            command("ruff", "check", "--quiet", "."),
            command("ruff", "format", "--check", "--quiet", "."),
            command("mypy", *TYPED, *map(str, scripts)),
            command("lint-imports", "--no-logo"),
        ]
    results += [
        report("notebooks", notebooks.faults(ROOT / "notebooks")),
        report("leaks", leaks.faults(ROOT)),
        report("dashboards", dashboards.differences()),
        report("guides", guides.differences()),
    ]
    print(*size.table(ROOT), sep="\n")
    limits = {
        "size": size.exceeded_limits(ROOT),
        "class names": size.shared_class_names(ROOT),
        "imports of notebooks": size.unlisted_imports(ROOT),
    }
    results += [report(name, list(faults)) for name, faults in limits.items()]
    return results.count(False)


def command(name: str, *arguments: str) -> bool:
    """Run a checker; its output is printed only if it fails."""
    done = subprocess.run(
        [PROGRAMS / name, *arguments], cwd=ROOT, stdout=-1, stderr=subprocess.STDOUT, text=True
    )
    faults = [done.stdout.strip() or "failed"] if done.returncode else []
    return report(" ".join([name, *arguments[:1]]), faults)


def report(name: str, faults: list[str]) -> bool:
    """Print the result of a check."""
    print(f"{'✘' if faults else '✔'} {name}", *faults, sep="\n  ", flush=True)
    return not faults


if __name__ == "__main__":
    sys.exit(main())
