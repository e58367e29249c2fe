"""The gRPC side of the server that answers after a known delay."""

import asyncio
from time import monotonic
from typing import Any

from grpc import aio
from tritonclient.grpc import service_pb2, service_pb2_grpc

from helpers.load.delay_server import FLOATS, MODEL, OUTPUT_BYTES


class Servicer(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """The same over gRPC; arguments as of `DelayServer`."""

    def __init__(self, delay_s: float, took_s: list[float]) -> None:
        self._delay_s = delay_s
        self._took_s = took_s

    async def ModelReady(self, request: Any, context: Any) -> Any:
        """Whether the one model is meant."""
        return service_pb2.ModelReadyResponse(ready=request.name == MODEL)

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        """Answer after the delay."""
        received = monotonic()
        await asyncio.sleep(self._delay_s)
        answer = service_pb2.ModelInferResponse(model_name=MODEL)
        answer.outputs.add(name="out", datatype="FP32", shape=[1, FLOATS])
        answer.raw_output_contents.append(OUTPUT_BYTES)
        self._took_s.append(monotonic() - received)
        return answer


async def listen(delay_s: float, took_s: list[float]) -> tuple[Any, int]:
    """Listen on 127.0.0.1: the server, which ends when nobody refers to it, and its port."""
    server = aio.server()
    servicer = Servicer(delay_s, took_s)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)
    port: int = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port
