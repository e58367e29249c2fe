"""Every query there is, once: dashboards, pictures, tables and records take it from here."""

from dataclasses import dataclass

VARIABLES = ("model", "namespace", "pod")
EVERYTHING = ".*"  # matches a label that is absent, too: a rehearsal has neither namespace nor pod
GRAFANA_WINDOW = "$__rate_interval"
SELECTED = ",".join(f'{name}=~"${name}"' for name in VARIABLES)
ON_GPU = ",".join(f'{name}=~"${name}"' for name in VARIABLES if name != "model")

NO_TRITON = "Triton was not scraped, or served no model"
NO_ANSWERS = "Triton answered no request"
NO_SAMPLER = "the sampler was not scraped"
NO_GPU = "no NVIDIA GPU was sampled"
NO_PRICES = "no prices are known: they come with the plan of stage 01"
NO_RULES = "Prometheus has not evaluated the rules yet"


@dataclass(frozen=True)
class Series:
    """One series: a PromQL query, and how people read its answer.

    Attributes:
        name: Its name in tables and records.
        title: What people read.
        unit: Unit of the values.
        promql: The query; `WINDOW` stands for how far a rate or a mean looks back, and
            `$model`, `$namespace`, `$pod` for what a dashboard's reader selects.
        label: The label that tells its lines apart; empty where there is one line.
        absence: What it means that there is no value.
        about: What it says and where it ends, one or two sentences.
    """

    name: str
    title: str
    unit: str
    promql: str
    label: str
    absence: str
    about: str

    def query(self, window_s: float) -> str:
        """The query for a window of so many seconds, with everything selected."""
        return filled(self.promql.replace("WINDOW", duration(window_s)))

    @property
    def grafana(self) -> str:
        """The query as a dashboard holds it."""
        return self.promql.replace("WINDOW", GRAFANA_WINDOW)


def filled(promql: str) -> str:
    """A query with everything selected in each of a dashboard's variables.

    >>> filled('up{pod=~"$pod"}')
    'up{pod=~".*"}'
    """
    for name in VARIABLES:
        promql = promql.replace(f"${name}", EVERYTHING)
    return promql


def duration(length_s: float) -> str:
    """A duration as Prometheus reads it.

    >>> duration(5.0), duration(0.5)
    ('5s', '500ms')
    """
    return f"{length_s:.0f}s" if length_s == round(length_s) else f"{round(length_s * 1000)}ms"


def _triton(name: str, by: str = "model") -> str:
    """Increase of one of Triton's counters per second."""
    return f"sum by ({by}) (rate(nv_inference_{name}{{{SELECTED}}}[WINDOW]))"


def _per_request_ms(*durations: str) -> str:
    """Mean milliseconds per request: all time that passed over all requests that it passed for.

    Not the mean of each counter's own ratio, which counts an idle model as a fast one.
    """
    total = " + ".join(_triton(f"{one}_duration_us") for one in durations)
    return f"({total}) / 1000 / ({_triton('request_success')} > 0)"


def _quantile(quantile: float, part: str = "request") -> str:
    """Quantiles of several pods cannot be averaged: the slowest pod's."""
    selected = f'{SELECTED},quantile="{quantile:g}"'
    return f"max by (model) (nv_inference_{part}_summary_us{{{selected}}}) / 1000"


def _gpu(metric: str, how: str = "avg", inner: str = "avg") -> str:
    return f"{how} by (gpu) ({inner}_over_time({metric}{{{ON_GPU}}}[WINDOW]))"


_SUMMARY = (
    "Of the requests that Triton answered in the last minute, over its own summary; the time on "
    "the network is not in it, and a burst stays in it for a minute."
)
_OF_PARTS = "Mean over the requests answered: time passed, divided by requests."

REQUESTS = Series(
    "requests", "Requests answered", "1/s", _triton("request_success"), "model", NO_TRITON,
    "Good answers per second, from Triton's counter.",
)  # fmt: skip
FAILURES = Series(
    "failures", "Requests failed", "1/s", _triton("request_failure"), "model", NO_TRITON,
    "Failures per second that Triton counted. A request refused at a full queue is not among "
    "them: the client's own error rate is the truth.",
)  # fmt: skip
ERROR_SHARE = Series(
    "error_share", "Share of requests that failed", "%",
    f"100 * {_triton('request_failure')} / (({_triton('request_success')} + "
    f"{_triton('request_failure')}) > 0)",
    "model", NO_ANSWERS,
    "Of what Triton counted; refusals at a full queue are not among its failures.",
)  # fmt: skip
INFERENCES = Series(
    "inferences", "Images inferred", "images/s", _triton("count"), "model", NO_TRITON,
    "Images per second; a request may carry several.",
)  # fmt: skip
BATCH_SIZE = Series(
    "batch_size", "Images per execution", "images",
    f"{_triton('count')} / ({_triton('exec_count')} > 0)", "model", NO_ANSWERS,
    "How many images the dynamic batcher put into one execution, in the mean.",
)  # fmt: skip
PENDING = Series(
    "pending", "Requests waiting in Triton", "requests",
    f"sum by (model) (nv_inference_pending_request_count{{{SELECTED}}})", "model", NO_TRITON,
    "Depth of the queue when it was scraped.",
)  # fmt: skip

P50, P95, P99 = (
    Series(
        f"latency_p{percent}", f"P{percent} latency in Triton", "ms", _quantile(percent / 100),
        "model", NO_ANSWERS, _SUMMARY,
    )
    for percent in (50, 95, 99)
)  # fmt: skip
QUEUE_P95 = Series(
    "queue_p95", "P95 time in the queue", "ms", _quantile(0.95, "queue"), "model", NO_ANSWERS,
    _SUMMARY,
)  # fmt: skip
INFER_P95 = Series(
    "infer_p95", "P95 time of the inference", "ms", _quantile(0.95, "compute_infer"), "model",
    NO_ANSWERS, _SUMMARY,
)  # fmt: skip
QUEUE = Series(
    "queue_time", "Time in the queue, per request", "ms", _per_request_ms("queue"), "model",
    NO_ANSWERS, _OF_PARTS,
)  # fmt: skip
COMPUTE = Series(
    "compute_time", "Compute time (input, inference, output), per request", "ms",
    _per_request_ms("compute_input", "compute_infer", "compute_output"), "model", NO_ANSWERS,
    _OF_PARTS,
)  # fmt: skip
HAND_OVER = Series(
    "hand_over", "Hand-over in Triton, per request", "ms",
    f"({_triton('request_duration_us')} - {_triton('queue_duration_us')}"
    + "".join(f" - {_triton(f'compute_{part}_duration_us')}" for part in ("input", "infer",
                                                                            "output"))
    + f") / 1000 / ({_triton('request_success')} > 0)",
    "model", NO_ANSWERS,
    "Triton's whole time less queue and compute: taking the request over and giving the answer "
    "back. What the network takes beyond that only the client sees; stage 05 tells it.",
)  # fmt: skip
NETWORK = Series(
    "network", "Network: round trip of a scrape of Triton", "ms",
    'max by (job) (scrape_duration_seconds{job=~".*triton.*",namespace=~"$namespace",'
    'pod=~"$pod"}) * 1000',
    "job", NO_TRITON,
    "How long Prometheus waited for Triton's metrics: connection, request and answer. The way "
    "of a client through the load balancer is longer; stage 05 tells it.",
)  # fmt: skip

GPU = Series(
    "gpu_utilisation", "GPU utilisation", "%", _gpu("DCGM_FI_DEV_GPU_UTIL"), "gpu", NO_GPU,
    "Share of the time in which any kernel ran; a GPU at 100 % may still have room.",
)  # fmt: skip
GPU_MEMORY = Series(
    "gpu_memory", "GPU memory used", "MiB",
    f"sum by (gpu) (DCGM_FI_DEV_FB_USED{{{ON_GPU}}})", "gpu", NO_GPU,
    "Framebuffer in use: models, their workspaces, CUDA itself.",
)  # fmt: skip
GPU_MEMORY_SHARE = Series(
    "gpu_memory_share", "Share of the GPU's memory used", "%",
    f"100 * sum by (gpu) (DCGM_FI_DEV_FB_USED{{{ON_GPU}}}) / sum by (gpu) "
    f"(DCGM_FI_DEV_FB_USED{{{ON_GPU}}} + DCGM_FI_DEV_FB_FREE{{{ON_GPU}}})", "gpu", NO_GPU,
    "Used over used and free; above the limit a further model will not load.",
)  # fmt: skip
GPU_POWER = Series(
    "gpu_power", "GPU power", "W", _gpu("DCGM_FI_DEV_POWER_USAGE"), "gpu", NO_GPU,
    "Power draw of the board.",
)  # fmt: skip
GPU_TEMPERATURE = Series(
    "gpu_temperature", "GPU temperature", "°C", _gpu("DCGM_FI_DEV_GPU_TEMP", "max", "max"), "gpu",
    NO_GPU, "Of the die. Above the limit the clocks will soon be lowered.",
)  # fmt: skip
GPU_CLOCK = Series(
    "gpu_clock", "SM clock", "MHz", _gpu("DCGM_FI_DEV_SM_CLOCK"), "gpu", NO_GPU,
    "Clock of the streaming multiprocessors; it falls when the GPU throttles or idles.",
)  # fmt: skip
THROTTLING = Series(
    "gpu_throttling", "Throttling: clock events", "events",
    "sum by (clock_event) (DCGM_EXP_CLOCK_EVENTS_COUNT"
    f'{{{ON_GPU},clock_event=~"hw_.*|sw_thermal|power_cap"}})', "clock_event", NO_GPU,
    "How often within DCGM's window the clocks were held down, by reason; on a machine without "
    "DCGM, 1 while the reason holds.",
)  # fmt: skip
XID = Series(
    "gpu_xid", "Last XID error", "",
    f"max by (gpu) (DCGM_FI_DEV_XID_ERRORS{{{ON_GPU}}})", "gpu", NO_GPU,
    "Number of the driver's last XID error; 0 where there was none. It stays until the driver "
    "is loaded again.",
)  # fmt: skip
PER_GPU = Series(
    "requests_per_gpu", "Requests per second for each per cent of the GPU", "1/s/%",
    f"{_triton('request_success', 'namespace, pod')} / on (namespace, pod) "
    f"(avg by (namespace, pod) (avg_over_time(DCGM_FI_DEV_GPU_UTIL{{{ON_GPU}}}[WINDOW])) > 0)",
    "pod", NO_GPU,
    "Load and utilisation of the same pod at the same time: what a per cent of the GPU yields.",
)  # fmt: skip

BURN = Series(
    "burn", "Burn per hour", "US$/h", "gpu_e2e:burn_usd_per_hour", "", NO_PRICES,
    "What an hour costs as things stand: the stack's fixed parts and each GPU node, at the "
    "plan's prices. An estimate; the bill comes a day later.",
)  # fmt: skip
SPENT = Series(
    "spent", "Spent so far", "US$", "gpu_e2e:spent_usd", "", NO_PRICES,
    "The burn, added up over the last day for as long as Prometheus watched.",
)  # fmt: skip
GPU_HOURS = Series(
    "gpu_hours", "GPU hours", "h", "gpu_e2e:gpu_hours", "", NO_RULES,
    "Hours of GPU nodes in the last day, each node counted for as long as it was there.",
)  # fmt: skip
GPU_NODES = Series(
    "gpu_nodes", "GPU nodes", "nodes", "gpu_e2e:gpu_nodes:count", "", NO_RULES,
    "Nodes that offer a GPU; each of them is billed, used or not.",
)  # fmt: skip
PER_1000 = Series(
    "usd_per_1000", "Cost of 1,000 inferences", "US$",
    f"1000 * scalar(gpu_e2e:burn_usd_per_hour) / 3600 / ({_triton('count')} > 0)", "model",
    NO_PRICES,
    "Burn over images per second, as if the model had the stack to itself.",
)  # fmt: skip
HOURS_LEFT = Series(
    "hours_left", "Time until the stack's timer ends it", "h",
    "(gpu_e2e:expires_timestamp_seconds - time()) / 3600", "",
    "the stack's timer is not known: it comes with stage 01",
    "After that a schedule inside AWS scales the GPU nodes to zero.",
)  # fmt: skip

CPU = Series(
    "cpu_utilisation", "CPU utilisation of this machine", "%",
    '100 * (1 - sum(rate(node_cpu_seconds_total{mode=~"idle|iowait"}[WINDOW]))'
    " / sum(rate(node_cpu_seconds_total[WINDOW])))", "", NO_SAMPLER,
    "All cores of all machines that are watched.",
)  # fmt: skip
MEMORY = Series(
    "memory_used", "Memory used", "GiB",
    "sum(node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes) / 1024 ^ 3", "", NO_SAMPLER,
    "What programs hold and the system could not give to others.",
)  # fmt: skip
CPU_BY_ROLE = Series(
    "cpu_by_role", "CPU used, by part", "cores",
    "sum by (role) (rate(gpu_e2e_process_cpu_seconds_total[WINDOW]))", "role", NO_SAMPLER,
    "Server, load client, Prometheus and sampler share a rehearsal's machine; this tells them "
    "apart.",
)  # fmt: skip
UP = Series(
    "up", "Targets that answer", "",
    'min by (job) (up{job=~".*triton.*|.*dcgm.*|sampler"})', "job", NO_TRITON,
    "1 while Prometheus reaches every target of the job.",
)  # fmt: skip
ALERTS = Series(
    "alerts", "Alerts that fire", "alerts", 'count(ALERTS{alertstate="firing"}) or vector(0)', "",
    NO_RULES, "Each has a runbook line of its own.",
)  # fmt: skip

CATALOGUE = (
    REQUESTS, FAILURES, QUEUE, COMPUTE, BATCH_SIZE, PENDING, CPU, MEMORY, CPU_BY_ROLE, GPU,
    GPU_MEMORY,
)  # fmt: skip
"""What is read back for every load test."""
EVERY = (
    *CATALOGUE, ERROR_SHARE, INFERENCES, P50, P95, P99, QUEUE_P95, INFER_P95, HAND_OVER, NETWORK,
    GPU_MEMORY_SHARE, GPU_POWER, GPU_TEMPERATURE, GPU_CLOCK, THROTTLING, XID, PER_GPU, BURN, SPENT,
    GPU_HOURS, GPU_NODES, PER_1000, HOURS_LEFT, UP, ALERTS,
)  # fmt: skip
