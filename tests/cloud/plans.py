"""Small plans as `terraform show -json` prints them."""

from typing import Any

SYSTEM = {
    "node_group_name": "x-system", "instance_types": ["t3.large", "t3a.large"],
    "scaling_config": [{"desired_size": 2, "max_size": 3, "min_size": 1}],
}  # fmt: skip


def capped(cap: str, desired: int = 1, most: int = 2) -> dict[str, Any]:
    """Our own group of spot nodes with a price cap."""
    policy = {
        "instances_distribution": [{"spot_max_price": cap}],
        "launch_template": [{"override": [{"instance_type": "g4dn.xlarge"}]}],
    }
    return {
        "name": "x-gpu", "min_size": 0, "desired_capacity": desired, "max_size": most,
        "mixed_instances_policy": [policy],
    }  # fmt: skip


CAPPED = capped("0.30")


def template(name: str, size: int) -> dict[str, Any]:
    return {"name": name, "block_device_mappings": [{"ebs": [{"volume_size": size}]}]}


def document(*resources: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A plan that creates these resources."""
    made = [
        {"address": f"{kind}.r{n}", "name": f"r{n}", "type": kind, "mode": "managed",
         "values": values}
        for n, (kind, values) in enumerate(resources)
    ]  # fmt: skip
    return {"planned_values": {"root_module": {"resources": made}}}
