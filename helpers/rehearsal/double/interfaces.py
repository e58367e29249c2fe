"""Network interfaces go with what they were made for; in moto they stay, as if left over."""

from typing import Any

from moto.ec2.models.instances import Instance
from moto.ec2.models.nat_gateways import NatGatewayBackend

PRIMARY = "Primary network interface"

_terminate = Instance.terminate
_delete_nat_gateway = NatGatewayBackend.delete_nat_gateway


def mend() -> None:
    """Mend moto, once in a process."""
    instance: Any = Instance
    instance.terminate = terminate
    gateways: Any = NatGatewayBackend
    gateways.delete_nat_gateway = delete_nat_gateway


def terminate(instance: Any) -> Any:
    """The interface that was made with an instance is removed with it (DeleteOnTermination)."""
    state = _terminate(instance)
    for nic in instance.nics.values():
        if nic.description == PRIMARY:
            instance.ec2_backend.enis.pop(nic.id, None)
    return state


def delete_nat_gateway(backend: Any, nat_gateway_id: str) -> Any:
    """A NAT gateway takes its interface along."""
    gone = _delete_nat_gateway(backend, nat_gateway_id)
    backend.enis.pop(gone._eni.id, None)
    return gone
