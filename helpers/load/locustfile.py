"""Locust as the control plane of many machines: each of its workers fires one shard of a scenario.

    GPU_E2E_ORDER=ORDER locust -f helpers/load/locustfile.py --headless --master|--worker …

Locust's own users would synchronise, and its statistics round; so a worker has one user, whose
only task is to run the embedded engine's worker on its shard. The master tells on standard output
what a single worker of the engine would (`helpers.load.worker`), and gathers the shards' records:
those are the source of truth, Locust's table is for looking at. A line on its standard input says
in how many seconds to begin; the end of it stops the firing, and the records come all the same.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import gevent
from gevent.event import AsyncResult, Event
from gevent.fileobject import FileObjectPosix
from locust import User, constant, events, task
from locust.env import Environment
from locust.runners import WORKER_REPORT_INTERVAL, MasterRunner, WorkerRunner
from locust.stats import CSV_STATS_INTERVAL_SEC

from helpers.load import recorder
from helpers.load.arrivals import Shard
from helpers.load.progress import bucket_ms
from helpers.load.worker import Order, Work, say

ORDER = Order.model_validate_json(os.environ["GPU_E2E_ORDER"])
READY, BEGIN, STOP = "load-ready", "load-begin", "load-stop"
SAID, PART = "load-said", "load-part"
BEGUN_AT, STOPPED = AsyncResult(), Event()  # seconds since 1970; a process takes part once
LOST_S = 10  # without a sign of life, after which a worker does not come back
FAILED = {"kind": "failed"}
SUMS = ("sent", "ok", "in_flight", "memory_mib")


def take_part(environment: Environment, **_: Any) -> None:
    """Become a worker or the master of the load, whichever this process is of Locust."""
    match environment.runner:
        case WorkerRunner() as runner:
            runner.register_message(BEGIN, lambda msg, **_: BEGUN_AT.set(msg.data["at"]))
            runner.register_message(STOP, lambda **_: STOPPED.set())
        case MasterRunner() as runner:
            Master(runner).listen()


events.init.add_listener(take_part)  # type: ignore[no-untyped-call]


class ShardUser(User):
    """The one user of a worker; it fires the worker's shard once."""

    wait_time = constant(3600)

    @task
    def fire(self) -> None:
        """Run the engine on this worker's shard, and tell the master what it tells."""
        runner = self.environment.runner
        shard = Shard(runner.worker_index, ORDER.scenario.workers)
        with tempfile.TemporaryDirectory() as folder:
            work = Work(folder=Path(folder), shard=shard, **dict(ORDER))
            worker = subprocess.Popen(
                [sys.executable, "-m", "helpers.load.worker", work.model_dump_json()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            last = FAILED
            STOPPED.rawlink(lambda _: worker.terminate())
            try:
                last = self._follow(worker, shard)
            finally:
                worker.terminate()
                worker.wait()
                self._send_records(Path(folder))
                runner.send_message(SAID, {"shard": shard.number, **last})

    def _follow(self, worker: Any, shard: Shard) -> dict[str, Any]:
        """Pass on what the engine's worker tells; returns the last of it."""
        for line in worker.stdout:
            said: dict[str, Any] = json.loads(line)
            match said["kind"]:
                case "ready":
                    self.environment.runner.send_message(READY, {"shard": shard.number})
                    # the wall clock is what machines share (NTP); the engine wants this machine's
                    zero = time.monotonic() + BEGUN_AT.get() - time.time()
                    worker.stdin.write(f"{zero!r}\n")
                    worker.stdin.flush()
                case "end":
                    self._count(said)
                    return said
                case "progress":
                    self._count(said)
                    self.environment.runner.send_message(SAID, {"shard": shard.number, **said})
                case _:
                    self.environment.runner.send_message(SAID, {"shard": shard.number, **said})
        return FAILED

    def _count(self, said: dict[str, Any]) -> None:
        """Show in Locust's table what was answered since the last time."""
        scenario = ORDER.scenario
        for bucket, count in said["latency"].items():
            for _ in range(count):
                self.environment.stats.log_request(
                    scenario.protocol, scenario.name, bucket_ms(int(bucket)), 0
                )

    def _send_records(self, folder: Path) -> None:
        for part in sorted(recorder.parts_folder(folder, ORDER.scenario.name).glob("*.parquet")):
            facts = {"name": part.name, "data": part.read_bytes()}
            self.environment.runner.send_message(PART, facts)


class Master:
    """Speaks for all workers as if they were one.

    Args:
        runner: Locust's side of it.
    """

    def __init__(self, runner: MasterRunner) -> None:
        self._runner = runner
        self._ready: set[int] = set()
        self._seconds: dict[int, dict[str, Any]] = {}
        self._ends: dict[int, dict[str, Any]] = {}
        self._lost: set[int] = set()
        self._begun = False
        self._counted = 0  # requests that the workers gave to Locust's table

    def listen(self) -> None:
        """Hear what the workers tell, and what the parent says."""
        self._runner.register_message(READY, self._on_ready)
        self._runner.register_message(SAID, self._on_said)
        self._runner.register_message(PART, _keep)
        gevent.spawn(self._obey)
        gevent.spawn(self._miss)

    def _on_ready(self, msg: Any, **_: Any) -> None:
        self._ready.add(msg.data["shard"])
        if len(self._ready) == ORDER.scenario.workers:
            say("ready")

    def _obey(self) -> None:
        with FileObjectPosix(sys.stdin.fileno(), "r", closefd=False) as words:
            line = words.readline()
            if not line:  # the parent is gone; Locust may still wait for workers, but hears this
                signal.raise_signal(signal.SIGTERM)
                return
            self._begun = True
            self._runner.send_message(BEGIN, {"at": time.time() + float(line)})
            words.read()
        self._runner.send_message(STOP)

    def _miss(self) -> None:
        """Where a worker is gone its share is not fired: the others stop, and nothing is true."""
        while True:
            gevent.sleep(1)
            silent = [one.id for one in self._runner.clients.all if one.heartbeat < -LOST_S]
            index = self._runner.get_worker_index
            gone = {index(name) for name in silent}  # type: ignore[no-untyped-call]
            for shard in gone - self._lost - self._ends.keys():
                self._lost.add(shard)
                tell = partial(_tell_loss, shard)
                events.quit.add_listener(tell)  # type: ignore[no-untyped-call]
                self._runner.send_message(STOP)
                self._end_with_last()

    def _on_said(self, msg: Any, **_: Any) -> None:
        shard, kind = msg.data.pop("shard"), msg.data["kind"]
        self._counted += sum(msg.data.get("latency", {}).values())
        if kind in ("end", "failed"):
            self._ends[shard] = msg.data
            self._end_with_last()
        elif kind == "progress":
            self._seconds[shard] = msg.data
            if len(self._seconds) == ORDER.scenario.workers:
                say(**summed(list(self._seconds.values())))
                self._seconds.clear()
        elif shard == 0:
            print(json.dumps(msg.data), flush=True)

    def _end_with_last(self) -> None:
        ends = list(self._ends.values())
        failed = bool(self._lost) or any(one["kind"] != "end" for one in ends)
        everybody = len(ends) + len(self._lost) == ORDER.scenario.workers
        if failed and (everybody or not self._begun):
            self._runner.environment.process_exit_code = 1
            gevent.spawn(self._runner.quit)
        if failed or not everybody:
            return
        say(
            "end",
            engine=f"{ends[0]['engine']}, {len(ends)} Locust workers",
            interrupted=any(one["interrupted"] for one in ends),
            cpu_share=max(one["cpu_share"] for one in ends),
        )
        gevent.spawn(self._close_table)

    def _close_table(self) -> None:
        """Quit once Locust's table holds every request: its workers report every few seconds."""
        with gevent.Timeout(3 * WORKER_REPORT_INTERVAL, False):
            while self._runner.stats.total.num_requests < self._counted:
                gevent.sleep(0.1)
        gevent.sleep(2 * CSV_STATS_INTERVAL_SEC)
        self._runner.quit()


def summed(seconds: list[dict[str, Any]]) -> dict[str, Any]:
    """The progress of several workers as that of one."""
    errors: Counter[str] = Counter()
    latency: Counter[str] = Counter()
    for one in seconds:
        errors.update(one["errors"])
        latency.update(one["latency"])
    return {
        "kind": "progress",
        "phase": seconds[0]["phase"],
        "elapsed_s": max(one["elapsed_s"] for one in seconds),
        "errors": dict(errors),
        "latency": dict(latency),
        **{name: sum(one[name] for one in seconds) for name in SUMS},
    }


def _tell_loss(shard: int, **_: Any) -> None:
    """After Locust's table, so that it is the last word of the log."""
    print(f"The worker of shard {shard} is gone.", file=sys.stderr, flush=True)


def _keep(msg: Any, **_: Any) -> None:
    """Keep a part of a shard's records beside those of the others."""
    folder = recorder.parts_folder(Path(os.environ["GPU_E2E_FOLDER"]), ORDER.scenario.name)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / msg.data["name"]).write_bytes(msg.data["data"])
