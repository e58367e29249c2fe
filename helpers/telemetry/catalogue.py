"""The catalogue of series: every PromQL query, defined once for dashboards, tables and records."""

from dataclasses import dataclass

VARIABLES = ("model", "namespace", "pod")
MATCH_ALL = ".*"  # also matches an absent label: a rehearsal has neither namespace nor pod
SELECTED = ",".join(f'{name}=~"${name}"' for name in VARIABLES)
ON_GPU = ",".join(f'{name}=~"${name}"' for name in VARIABLES if name != "model")

NO_TRITON = "Triton was not scraped, or served no model"
NO_ANSWERS = "Triton answered no request"
NO_SAMPLER = "the sampler was not scraped"
NO_GPU = "no NVIDIA GPU was sampled"
NO_PRICES = "no prices are known; the plan of stage 01 provides them"
NO_RULES = "Prometheus has not evaluated the rules yet"


@dataclass(frozen=True)
class Series:
    """A PromQL query, with what a reader needs to understand its result."""

    name: str  # name in tables and records
    title: str  # title for readers
    unit: str  # unit of the values
    # the query. `WINDOW` is a placeholder for the range of a rate or mean; `$model`, `$namespace`
    # and `$pod` are the dashboard's variables.
    promql: str
    label: str  # the label that distinguishes its lines; empty for a single line
    absence: str  # the likely reason when there is no value
    about: str  # what it measures and its limits, in one or two sentences

    def query(self, window_s: float) -> str:
        """The query with a window of this many seconds; the variables select everything."""
        query = self.promql.replace("WINDOW", duration(window_s))
        for variable in VARIABLES:
            query = query.replace(f"${variable}", MATCH_ALL)
        return query

    @property
    def grafana_query(self) -> str:
        """The query as it appears in a Grafana dashboard."""
        return self.promql.replace("WINDOW", "$__rate_interval")


def duration(length_s: float) -> str:
    """A duration in Prometheus syntax.

    >>> duration(5.0), duration(0.5)
    ('5s', '500ms')
    """
    return f"{length_s:.0f}s" if length_s == round(length_s) else f"{round(length_s * 1000)}ms"


def _triton(name: str, by: str = "model") -> str:
    """Increase per second of one of Triton's counters."""
    return f"sum by ({by}) (rate(nv_inference_{name}{{{SELECTED}}}[WINDOW]))"


def _per_request_ms(*durations: str) -> str:
    """Mean milliseconds per request: a mean of ratios would count an idle model as a fast one."""
    total = " + ".join(_triton(f"{name}_duration_us") for name in durations)
    return f"({total}) / 1000 / ({_triton('request_success')} > 0)"


def _quantile(quantile: float, part: str = "request") -> str:
    """The quantile of the slowest pod: quantiles of several pods cannot be averaged."""
    selected = f'{SELECTED},quantile="{quantile:g}"'
    return f"max by (model) (nv_inference_{part}_summary_us{{{selected}}}) / 1000"


def _gpu(metric: str, how: str = "avg", inner: str = "avg") -> str:
    return f"{how} by (gpu) ({inner}_over_time({metric}{{{ON_GPU}}}[WINDOW]))"


_SUMMARY = (
    "From Triton's own summary of the requests answered in the last minute. Network time is not "
    "included, and a burst stays visible for a minute."
)
COMPUTE = ("compute_input", "compute_infer", "compute_output")
_MEAN = "Mean over the answered requests: total time divided by number of requests."

# fmt: off
SERIES = {series.name: series for series in (
    Series("requests", "Requests answered", "1/s", _triton("request_success"), "model", NO_TRITON,
        "Successful answers per second, from Triton's counter."),
    Series("failures", "Requests failed", "1/s", _triton("request_failure"), "model", NO_TRITON,
        "Failures per second, from Triton's counter. Requests rejected because the queue is full "
        "are not counted; the client's error rate includes them."),
    Series("error_share", "Share of requests that failed", "%",
        f"100 * {_triton('request_failure')} / (({_triton('request_success')} + "
        f"{_triton('request_failure')}) > 0)", "model", NO_ANSWERS, "From Triton's counters, "
        "which do not include requests rejected because the queue is full."),
    Series("inferences", "Images inferred", "images/s", _triton("count"), "model", NO_TRITON,
        "Images per second; a request can contain several."),
    Series("batch_size", "Images per execution", "images",
        f"{_triton('count')} / ({_triton('exec_count')} > 0)", "model", NO_ANSWERS,
        "Mean number of images that the dynamic batcher puts into one execution."),
    Series("pending", "Requests waiting in Triton", "requests",
        f"sum by (model) (nv_inference_pending_request_count{{{SELECTED}}})", "model", NO_TRITON,
        "Queue length at the time of the scrape."),
    *(Series(f"latency_p{percent}", f"P{percent} latency in Triton", "ms",
        _quantile(percent / 100), "model", NO_ANSWERS, _SUMMARY) for percent in (50, 95, 99)),
    Series("queue_p95", "P95 time in the queue", "ms",
        _quantile(0.95, "queue"), "model", NO_ANSWERS, _SUMMARY),
    Series("infer_p95", "P95 time of the inference", "ms",
        _quantile(0.95, "compute_infer"), "model", NO_ANSWERS, _SUMMARY),
    Series("queue_time", "Time in the queue, per request", "ms", _per_request_ms("queue"), "model",
        NO_ANSWERS, _MEAN),
    Series("compute_time", "Compute time (input, inference, output), per request", "ms",
        _per_request_ms(*COMPUTE), "model", NO_ANSWERS, _MEAN),
    Series("hand_over", "Hand-over in Triton, per request", "ms",
        f"({_triton('request_duration_us')} - {_triton('queue_duration_us')}"
        + "".join(f" - {_triton(f'{part}_duration_us')}" for part in COMPUTE)
        + f") / 1000 / ({_triton('request_success')} > 0)", "model", NO_ANSWERS,
        "Triton's total time minus queue and compute: receiving the request and returning the "
        "answer. Network time beyond that is visible only to the client (stage 05)."),
    Series("network", "Network: round trip of a scrape of Triton", "ms",
        'max by (job) (scrape_duration_seconds{job=~".*triton.*",namespace=~"$namespace",'
        'pod=~"$pod"}) * 1000', "job", NO_TRITON,
        "How long Prometheus waited for Triton's metrics: connection, request and answer. Clients "
        "behind the load balancer have a longer path (stage 05)."),
    Series("gpu_utilisation", "GPU utilisation", "%", _gpu("DCGM_FI_DEV_GPU_UTIL"), "gpu", NO_GPU,
        "Share of time in which any kernel ran; a GPU at 100 % may still have capacity."),
    Series("gpu_memory", "GPU memory used", "MiB",
        f"sum by (gpu) (DCGM_FI_DEV_FB_USED{{{ON_GPU}}})", "gpu", NO_GPU,
        "Framebuffer in use by models, their workspaces and CUDA itself."),
    Series("gpu_memory_share", "Share of the GPU's memory used", "%",
        f"100 * sum by (gpu) (DCGM_FI_DEV_FB_USED{{{ON_GPU}}}) / sum by (gpu) "
        f"(DCGM_FI_DEV_FB_USED{{{ON_GPU}}} + DCGM_FI_DEV_FB_FREE{{{ON_GPU}}})", "gpu", NO_GPU,
        "Used memory over used plus free; above the limit another model will not load."),
    Series("gpu_power", "GPU power", "W", _gpu("DCGM_FI_DEV_POWER_USAGE"), "gpu", NO_GPU,
        "Power draw of the board."),
    Series("gpu_temperature", "GPU temperature", "°C",
        _gpu("DCGM_FI_DEV_GPU_TEMP", "max", "max"), "gpu", NO_GPU,
        "Die temperature. Above the limit the GPU will soon lower its clocks."),
    Series("gpu_clock", "SM clock", "MHz", _gpu("DCGM_FI_DEV_SM_CLOCK"), "gpu", NO_GPU,
        "Clock of the streaming multiprocessors; it falls when the GPU throttles or idles."),
    Series("gpu_throttling", "Throttling: clock events", "events",
        "sum by (clock_event) (DCGM_EXP_CLOCK_EVENTS_COUNT"
        f'{{{ON_GPU},clock_event=~"hw_.*|sw_thermal|power_cap"}})', "clock_event", NO_GPU,
        "How often the clocks were reduced within DCGM's window, by reason; on a machine without "
        "DCGM, 1 while the reason applies."),
    Series("gpu_xid", "Last XID error", "",
        f"max by (gpu) (DCGM_FI_DEV_XID_ERRORS{{{ON_GPU}}})", "gpu", NO_GPU,
        "Number of the driver's last XID error; 0 if there was none. It stays until the driver is "
        "reloaded."),
    Series("requests_per_gpu", "Requests per second per percent of GPU utilisation", "1/s/%",
        f"{_triton('request_success', 'namespace, pod')} / on (namespace, pod) "
        f"(avg by (namespace, pod) (avg_over_time(DCGM_FI_DEV_GPU_UTIL{{{ON_GPU}}}[WINDOW])) > 0)",
        "pod", NO_GPU,
        "Request rate divided by GPU utilisation, for the same pod at the same time."),
    Series("burn", "Burn per hour", "US$/h", "gpu_e2e:burn_usd_per_hour", "", NO_PRICES,
        "Current cost per hour: the stack's fixed parts and each GPU node, at the plan's prices. "
        "An estimate; the bill is available a day later."),
    Series("spent", "Spent so far", "US$", "gpu_e2e:spent_usd", "", NO_PRICES,
        "The burn rate, summed over the last day for as long as Prometheus was running."),
    Series("gpu_hours", "GPU hours", "h", "gpu_e2e:gpu_hours", "", NO_RULES,
        "GPU node hours in the last day; each node counts for as long as it existed."),
    Series("gpu_nodes", "GPU nodes", "nodes", "gpu_e2e:gpu_nodes:count", "", NO_RULES,
        "Nodes with a GPU; each is billed whether it is used or not."),
    Series("usd_per_1000", "Cost of 1,000 inferences", "US$",
        f"1000 * scalar(gpu_e2e:burn_usd_per_hour) / 3600 / ({_triton('count')} > 0)", "model",
        NO_PRICES, "Burn rate divided by images per second, as if this model were the only one."),
    Series("hours_left", "Time until the stack's timer expires", "h",
        "(gpu_e2e:expires_timestamp_seconds - time()) / 3600", "",
        "the expiry of the stack's timer is not known; stage 01 sets it",
        "When it expires, a schedule in AWS scales the GPU nodes to zero."),
    Series("cpu_utilisation", "CPU utilisation of this machine", "%",
        '100 * (1 - sum(rate(node_cpu_seconds_total{mode=~"idle|iowait"}[WINDOW]))'
        " / sum(rate(node_cpu_seconds_total[WINDOW])))", "", NO_SAMPLER,
        "Mean over all cores of all monitored machines."),
    Series("memory_used", "Memory used", "GiB",
        "sum(node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes) / 1024 ^ 3", "",
        NO_SAMPLER, "Memory in use that the system cannot give to other programs."),
    Series("cpu_by_role", "CPU used, by component", "cores",
        "sum by (role) (rate(gpu_e2e_process_cpu_seconds_total[WINDOW]))", "role", NO_SAMPLER,
        "Server, load client, Prometheus and sampler run on the same machine in a rehearsal; this "
        "shows the share of each."),
    Series("up", "Targets that are up", "",
        'min by (job) (up{job=~".*triton.*|.*dcgm.*|sampler"})', "job", NO_TRITON,
        "1 while Prometheus can scrape every target of the job."),
    Series("alerts", "Firing alerts", "alerts",
        'count(ALERTS{alertstate="firing"}) or vector(0)', "", NO_RULES,
        "Every alert has a runbook line."),
)}
LOAD_SERIES = tuple(SERIES[name] for name in (
    "requests", "failures", "queue_time", "compute_time", "batch_size", "pending",
    "cpu_utilisation", "memory_used", "cpu_by_role", "gpu_utilisation", "gpu_memory"))
"""The series in the record of every load test."""
