"""Writes the committed dashboards, or says which are not current."""

import argparse
import sys

from helpers.telemetry.dashboards import differences, write


def main() -> int:
    """Write, or with `--check` compare; 1 where something is not current."""
    parser = argparse.ArgumentParser(prog="helpers.telemetry.dashboards", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, and write nothing")
    if parser.parse_args().check:
        found = differences()
        print("\n".join(found) or "Every dashboard is current.")
        return int(bool(found))
    for path in write():
        print(f"Written: {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
