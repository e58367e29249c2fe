"""Locust as the control plane of many machines: each of its workers fires one shard of a scenario.

    GPU_E2E_ORDER=ORDER locust -f helpers/load/locustfile.py --headless --master|--worker …

Locust's own users would synchronise, and its statistics round; so a worker has one user, whose
only task is to run the embedded engine's worker on its shard. The master reports on standard output
what a single worker of the engine would (`helpers.load.worker`), and gathers the shards' records.
A line on its standard input says in how many seconds to begin; the end of it stops the firing, and
the records are gathered all the same.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import gevent
from gevent.event import AsyncResult, Event
from gevent.fileobject import FileObjectPosix
from locust import User, constant, events, task
from locust.env import Environment
from locust.runners import MasterRunner, WorkerRunner

from helpers.load import request
from helpers.load.arrivals import Shard
from helpers.load.worker import Order, WorkerJob, report

ORDER = Order.model_validate_json(os.environ["GPU_E2E_ORDER"])
READY, BEGIN, STOP = "load-ready", "load-begin", "load-stop"
MESSAGE, PART = "load-message", "load-part"
BEGIN_AT, STOPPED = AsyncResult(), Event()  # seconds since 1970; a process takes part once
LOST_S = 10  # without a sign of life, after which a worker does not come back
FAILED = {"kind": "failed"}


def take_part(environment: Environment, **_: Any) -> None:
    """Become a worker or the master of the load, whichever this process is of Locust."""
    match environment.runner:
        case WorkerRunner() as runner:
            runner.register_message(BEGIN, lambda msg, **_: BEGIN_AT.set(msg.data["at"]))
            runner.register_message(STOP, lambda **_: STOPPED.set())
        case MasterRunner() as runner:
            Master(runner).listen()


events.init.add_listener(take_part)  # type: ignore[no-untyped-call]


class ShardUser(User):
    """The one user of a worker; it fires the worker's shard once."""

    wait_time = constant(3600)

    @task
    def fire(self) -> None:
        """Run the engine on this worker's shard, and pass on to the master what it reports."""
        runner = self.environment.runner
        shard = Shard(runner.worker_index, ORDER.scenario.workers)
        with tempfile.TemporaryDirectory() as folder:
            job = WorkerJob(folder=Path(folder), shard=shard, **dict(ORDER))
            command = [sys.executable, "-m", "helpers.load.worker", job.model_dump_json()]
            pipe = subprocess.PIPE
            worker = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)
            last = FAILED
            STOPPED.rawlink(lambda _: worker.terminate())
            try:
                last = self._follow(worker, shard)
            finally:
                worker.terminate()
                worker.wait()
                parts = request.parts_folder(Path(folder), ORDER.scenario.name)
                for part in sorted(parts.glob("*.parquet")):
                    runner.send_message(PART, {"name": part.name, "data": part.read_bytes()})
                runner.send_message(MESSAGE, {"shard": shard.number, **last})

    def _follow(self, worker: Any, shard: Shard) -> dict[str, Any]:
        """Pass on what the engine's worker reports; returns the last message."""
        send = self.environment.runner.send_message
        for line in worker.stdout:
            message: dict[str, Any] = json.loads(line)
            match message["kind"]:
                case "ready":
                    send(READY, {"shard": shard.number})
                    # the wall clock is what machines share (NTP); the engine wants this machine's
                    zero = time.monotonic() + BEGIN_AT.get() - time.time()
                    worker.stdin.write(f"{zero!r}\n")
                    worker.stdin.flush()
                case "end":
                    return message
                case _:
                    send(MESSAGE, {"shard": shard.number, **message})
        return FAILED


class Master:
    """Reports for all workers as if they were one."""

    def __init__(self, runner: MasterRunner) -> None:
        self._runner = runner
        self._ready: set[int] = set()
        self._ends: dict[int, dict[str, Any]] = {}
        self._lost: set[int] = set()
        self._begun = False

    def listen(self) -> None:
        """Listen to the workers, and to the parent."""
        self._runner.register_message(READY, self._on_ready)
        self._runner.register_message(MESSAGE, self._on_message)
        self._runner.register_message(PART, _keep_part)
        gevent.spawn(self._follow_parent)
        gevent.spawn(self._watch_workers)

    def _on_ready(self, msg: Any, **_: Any) -> None:
        self._ready.add(msg.data["shard"])
        if len(self._ready) == ORDER.scenario.workers:
            report("ready")

    def _follow_parent(self) -> None:
        with FileObjectPosix(sys.stdin.fileno(), "r", closefd=False) as parent:
            line = parent.readline()
            if not line:  # the parent is gone; Locust may still wait for workers, but heeds this
                signal.raise_signal(signal.SIGTERM)
                return
            self._begun = True
            self._runner.send_message(BEGIN, {"at": time.time() + float(line)})
            parent.read()
        self._runner.send_message(STOP)

    def _watch_workers(self) -> None:
        """Where a worker is gone its share is not fired: the others stop, and the load fails."""
        while True:
            gevent.sleep(1)
            clients = self._runner.clients.all
            silent = [client.id for client in clients if client.heartbeat < -LOST_S]
            index = self._runner.get_worker_index
            gone = {index(name) for name in silent}  # type: ignore[no-untyped-call]
            for shard in gone - self._lost - self._ends.keys():
                self._lost.add(shard)
                # at the end of Locust's own log, so that it is the last line
                loss = f"The worker of shard {shard} is gone."
                tell = partial(print, loss, file=sys.stderr, flush=True)
                events.quit.add_listener(lambda tell=tell, **_: tell())  # type: ignore[no-untyped-call]
                self._runner.send_message(STOP)
                self._end_with_last()

    def _on_message(self, msg: Any, **_: Any) -> None:
        shard, kind = msg.data.pop("shard"), msg.data["kind"]
        if kind in ("end", "failed"):
            self._ends[shard] = msg.data
            self._end_with_last()
        elif kind == "progress" or shard == 0:
            print(json.dumps({"shard": shard, **msg.data}), flush=True)

    def _end_with_last(self) -> None:
        ends = list(self._ends.values())
        failed = bool(self._lost) or any(end["kind"] != "end" for end in ends)
        everybody = len(ends) + len(self._lost) == ORDER.scenario.workers
        if failed and (everybody or not self._begun):
            self._runner.environment.process_exit_code = 1
            gevent.spawn(self._runner.quit)
        elif everybody and not failed:
            report(
                "end",
                engine=f"{ends[0]['engine']}, {len(ends)} Locust workers",
                interrupted=any(end["interrupted"] for end in ends),
                cpu_share=max(end["cpu_share"] for end in ends),
            )
            gevent.spawn(self._runner.quit)


def _keep_part(msg: Any, **_: Any) -> None:
    folder = request.parts_folder(Path(os.environ["GPU_E2E_FOLDER"]), ORDER.scenario.name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / msg.data["name"]).write_bytes(msg.data["data"])
