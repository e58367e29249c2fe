"""`python -m benchmarks [NAME …]`: runs all benchmarks or some, writes and prints the figures.

A figure that misses its goal is printed as missed; the exit status stays 0.
"""

import os
import sys
import time

from benchmarks import live, monitoring, peak, records, serving, timing
from helpers.errors import Problem

BENCHMARKS = {
    "peak": peak.measure,
    "timing": timing.measure,
    "serving": serving.measure,
    "records": records.measure,
    "live": live.measure,
    "monitoring": monitoring.measure,
}


def main(names: list[str]) -> None:
    """Run the named benchmarks in turn, or all of them if none is named."""
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        sys.exit(f"There is no benchmark '{unknown.pop()}'. Choose from: {', '.join(BENCHMARKS)}.")
    for name in names or BENCHMARKS:
        print(f"… {name} (load average {os.getloadavg()[0]:.2f})", flush=True)
        begin = time.monotonic()
        try:
            result = BENCHMARKS[name]()
        except Problem as problem:
            sys.exit(str(problem))
        result.save()
        print(f"{result.table()}\n  measured in {time.monotonic() - begin:.0f} s\n", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
