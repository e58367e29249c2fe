"""From networks to a served model that answers correctly.

models (exported to ONNX, compared with torch) → repository (as Triton reads it) → image (built by
builders, pushed to ecr) → triton (here, or behind the load balancer) → smoke (answers compared).
"""

__all__ = ["image", "models", "repository", "smoke", "triton"]
