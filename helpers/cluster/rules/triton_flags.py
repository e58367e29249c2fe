"""The flags of `tritonserver --help`; a test compares them with the real program."""

BOOLEAN = frozenset({
    "allow-cpu-metrics", "allow-gpu-metrics", "allow-grpc", "allow-http", "allow-metrics",
    "allow-sagemaker", "allow-vertex-ai", "disable-auto-complete-config", "enable-peer-access",
    "exit-on-error", "grpc-keepalive-permit-without-calls", "grpc-use-ssl", "grpc-use-ssl-mutual",
    "log-error", "log-info", "log-warning", "model-namespacing", "reuse-grpc-port",
    "reuse-http-port", "strict-model-config", "strict-readiness",
})  # fmt: skip
NUMBER = frozenset({
    "buffer-manager-thread-count", "exit-timeout-secs", "grpc-http2-max-ping-strikes",
    "grpc-http2-max-pings-without-data", "grpc-http2-min-recv-ping-interval-without-data",
    "grpc-infer-allocation-pool-size", "grpc-keepalive-time", "grpc-keepalive-timeout",
    "grpc-max-connection-age", "grpc-max-connection-age-grace", "grpc-port", "http-port",
    "http-thread-count", "log-verbose", "metrics-interval-ms", "metrics-port",
    "model-load-retry-count", "model-load-thread-count", "pinned-memory-pool-byte-size",
    "repository-poll-secs", "response-cache-byte-size", "sagemaker-port",
    "sagemaker-thread-count", "trace-count", "trace-log-frequency", "trace-rate",
    "vertex-ai-port", "vertex-ai-thread-count",
})  # fmt: skip
REPEATABLE = frozenset({
    "backend-config", "cache-config", "cuda-memory-pool-byte-size", "cuda-virtual-address-size",
    "grpc-restricted-protocol", "host-policy", "http-restricted-api", "load-model",
    "metrics-config", "model-load-gpu-limit", "model-repository", "model-store",
    "rate-limit-resource", "trace-config", "trace-level",
})  # fmt: skip
OTHER = frozenset({
    "backend-directory", "cache-directory", "grpc-address", "grpc-header-forward-pattern",
    "grpc-infer-response-compression-level", "grpc-root-cert", "grpc-server-cert",
    "grpc-server-key", "help", "http-address", "http-header-forward-pattern", "id", "log-file",
    "log-format", "metrics-address", "min-supported-compute-capability", "model-config-name",
    "model-control-mode", "rate-limit", "repoagent-directory", "sagemaker-safe-port-range",
    "trace-file", "vertex-ai-default-model",
})  # fmt: skip
# flags that the wheel's server lacks and NVIDIA's image has, or the other way round
FLAGS = BOOLEAN | NUMBER | REPEATABLE | OTHER
