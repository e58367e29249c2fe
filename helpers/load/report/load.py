"""Every scenario of a run, and what the client itself adds."""

from helpers.load.report.scenario import ScenarioReport
from helpers.run import Record
from helpers.scenario import Settings


class Calibration(Settings):
    """The engine against a server on this machine that answers after a known delay.

    Attributes:
        wire: `http` or `grpc`.
        delay_ms: The delay.
        rate: Requests per second, Poisson.
        requests: Good answers measured.
        added_p50_ms: Median that the engine measured minus that of the server's own clock.
        added_p99_ms: The same, 99th percentile.
        send_error_p99_ms: How late requests were released, 99th percentile.
    """

    wire: str
    delay_ms: float
    rate: float
    requests: int
    added_p50_ms: float
    added_p99_ms: float
    send_error_p99_ms: float

    @property
    def sentence(self) -> str:
        """What it says, in words."""
        return (
            f"client's own share ({self.wire}, {self.delay_ms:g} ms server at {self.rate:g}/s): "
            f"P50 {self.added_p50_ms:+.2f} ms, P99 {self.added_p99_ms:+.2f} ms"
        )


class LoadReport(Record, stage="05", name="load"):
    """Every scenario of the run, in the order they were fired.

    Attributes:
        calibrations: What the client itself adds, one for each wire format that was used.
        scenarios: What was measured.
    """

    calibrations: tuple[Calibration, ...] = ()
    scenarios: tuple[ScenarioReport, ...]

    @property
    def has_all_scenarios(self) -> bool:
        """Whether Smoke, Spike and Soak are all there."""
        return {"smoke", "spike", "soak"} <= {one.name for one in self.scenarios}

    @property
    def is_valid(self) -> bool:
        """Whether every scenario may be believed."""
        return not any(one.invalid for one in self.scenarios)

    @property
    def inferences(self) -> int:
        """Images answered well in all phases, warm-up too: what the session was paid for."""
        return sum(phase.ok * one.batch for one in self.scenarios for phase in one.phases)

    @property
    def summary(self) -> str:
        """One sentence: what was fired, and how much of it."""
        requests = sum(one.measured.requests for one in self.scenarios)
        names = ", ".join(one.name for one in self.scenarios)
        return f"{names}: {requests:,} measured requests"

    @property
    def trust(self) -> str:
        """One sentence: whether every scenario may be believed, and why not."""
        doubts = [f"{one.name}: {', '.join(one.invalid)}" for one in self.scenarios if one.invalid]
        return "; ".join(doubts) or "every scenario is valid"
