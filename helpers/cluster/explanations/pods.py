"""What the kubelet and Triton say when a container does not start."""

from helpers.cluster.explanations.rule import rule

IMAGES = (
    rule(
        "no-buildkit",
        r"option requires BuildKit|buildx component is missing",
        "Docker builds with its old builder here, which does not know COPY --chmod.",
        "Install buildx (docker-buildx-plugin, or Debian's docker-buildx), or podman or buildah "
        "instead of Docker, and repeat the stage.",
    ),
    rule(
        "image-denied",
        r"(?:Failed to pull image|ErrImagePull|ImagePullBackOff|pull access|pulling image).*"
        r"(?:no basic auth credentials|403 Forbidden|pull access denied|not authorized|"
        r"authorization failed|unauthorized)",
        "The node may not pull the image {image}.",
        "Give the node's role AmazonEC2ContainerRegistryPullOnly (stage 01), and check that the "
        "repository is in the stack's own account and region.",
    ),
    rule(
        "image-missing",
        r"(?:Failed to pull image|ErrImagePull|ImagePullBackOff|manifest).*"
        r"(?:manifest unknown|not found|does not exist|name unknown)",
        "The image {image} is not in its registry.",
        "Push it again with notebook 03, and deploy by the digest that it records.",
    ),
    rule(
        "image-platform",
        r"no match for platform in manifest|no matching manifest for|exec format error",
        "The image {image} is made for another processor than the node's.",
        "Build it for linux/amd64.",
    ),
    rule(
        "image-rate",
        r"toomanyrequests|pull rate limit",
        "The registry of {image} refuses more pulls for now.",
        "Wait, or copy the image into ECR and name that copy in the values.",
    ),
    rule(
        "disk-full",
        r"no space left on device|DiskPressure|ephemeral.storage",
        "The node's disk is full.",
        "Raise infrastructure.gpu.disk_gib and apply stage 01 again; Triton's image alone fills "
        "20 GiB.",
    ),
    rule(
        "image-back-off",
        r"ImagePullBackOff|ErrImagePull|Back-off pulling image|Failed to pull image|"
        r"InvalidImageName|ErrImageNeverPull",
        "The node cannot pull the image {image}.",
        "Read the pod's events for the registry's words; check name, digest and the node's way "
        "to the registry.",
    ),
)

PODS = (
    rule(
        "out-of-memory",
        r"OOMKilled",
        "The container {container} needed more memory than its limit and was killed.",
        "Raise resources.limits.memory in the values, or load fewer models.",
    ),
    rule(
        "no-model-loads",
        r"failed to load all models|failed to load '(?P<model>[\w.-]+)'|error: creating server",
        "Triton does not load its models ({model}), and so does not start.",
        "Read the container's last lines; the repository's path and each model's config.pbtxt are "
        "the usual causes.",
    ),
    rule(
        "no-driver",
        r"CUDA driver version is insufficient|no CUDA-capable device|libcuda\.so",
        "The container finds no NVIDIA driver that suits it.",
        "Check that the pod asks for the GPU, that the device plugin runs, and that the AMI's "
        "driver suits the image's CUDA.",
    ),
    rule(
        "crash-loop",
        r"CrashLoopBackOff|Back-off (?:[\w.]+ )?restarting failed container",
        "The container {container} starts and ends, again and again.",
        "Read its last lines: kubectl -n {namespace} logs {pod} -c {container} --previous",
    ),
    rule(
        "container-config",
        r"CreateContainerConfigError|(?:secret|configmap) \"(?P<object>[^\"]+)\" not found|"
        r"couldn't find key",
        "The container {container} refers to a ConfigMap, Secret or key that is not there "
        "({object}).",
        "Create it, or correct the reference in the values.",
    ),
    rule(
        "runs-as-root",
        r"image will run as root|non-numeric user",
        "The image would run as root (or names its user), and the pod forbids it.",
        "Set runAsUser to the image's numeric user in the values.",
    ),
    rule(
        "cannot-start",
        r"RunContainerError|StartError|CreateContainerError|failed to create containerd task",
        "The container {container} cannot be started.",
        "Read the pod's events; command, mounts and security settings are the usual causes.",
    ),
)
