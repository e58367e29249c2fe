"""A load is fired again where the client, as neighbours on a machine may make it, was too slow."""

from collections.abc import Awaitable, Callable

from helpers.load.report import ScenarioReport


async def fired(fire: Callable[[], Awaitable[ScenarioReport]]) -> ScenarioReport:
    """The report of the first firing, or of the second one, which then says why there were two.

    Args:
        fire: Fires the scenario and reports it.
    """
    first = await fire()
    if not first.client_was_the_bottleneck:
        return first
    why = "; ".join(first.invalid)
    print(f"{first.name} is fired again: {why}", flush=True)
    return (await fire()).model_copy(update={"repeated": why})
