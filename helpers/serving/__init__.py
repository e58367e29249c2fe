"""From networks to a served model that answers correctly.

- `models`: networks exported to ONNX and compared with torch
- `repository`: Triton's model repository with one config.pbtxt per model
- `image`: the model repository as a container image, pushed and read back
- `builders`: docker, podman or buildah builds and pushes an image
- `ecr`: an image pushed to the stack's own ECR repository
- `triton`: starts Triton on this machine, or reaches it behind the load balancer
- `smoke`: answers compared with ONNX Runtime
- `records`: the records of the exported models and of Triton's addresses
"""

__all__ = ["image", "models", "repository", "smoke", "triton"]
