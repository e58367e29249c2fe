"""The emulated AWS account behind a server on 127.0.0.1, for Terraform and every other program.

python -m helpers.rehearsal.aws_server --port 5000 --calls calls.jsonl
"""

import argparse
import os
import signal
import sys
import threading
from pathlib import Path

from helpers.errors import Problem
from helpers.rehearsal import surroundings

HOST = "127.0.0.1"  # anybody who reaches it may do anything in it


def main(arguments: list[str]) -> int:
    """Serve until told to end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--calls", type=Path, help="file that every request is recorded in")
    options = parser.parse_args(arguments)
    clean = surroundings.without_users_settings(os.environ) | {"MOTO_PORT": str(options.port)}
    os.environ.clear()
    os.environ.update(clean)
    from helpers.rehearsal.double import server  # asks for AWS settings when it is imported

    try:
        serving = server.bind(HOST, options.port, options.calls)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1

    def end(_signal: int, _frame: object) -> None:
        # from another thread: shutdown waits for the loop that this handler interrupts
        threading.Thread(target=serving.shutdown).start()

    for one in (signal.SIGTERM, signal.SIGINT):
        signal.signal(one, end)
    print(f"AWS emulator on http://{HOST}:{options.port}", flush=True)
    serving.serve_forever(poll_interval=0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
