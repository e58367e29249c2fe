"""Ready-made scenarios, for a load that no profile describes."""

from collections.abc import Callable

from pydantic import ValidationError

from helpers.errors import Problem
from helpers.profile import validation_message
from helpers.scenario import Poisson, Scenario


def smoke(model: str, rate: float = 20.0) -> Scenario:
    """A little load for half a minute: does everything work?"""
    return Scenario(
        name="smoke",
        model=model,
        phases=(_steady("warm-up", rate, 5.0, warmup=True), _steady("steady", rate, 25.0)),
    )


def spike(model: str, rate: float = 40.0) -> Scenario:
    """Seven and a half times the load for a while: what happens then, and does it recover?"""
    return Scenario(
        name="spike",
        model=model,
        phases=(
            _steady("before", rate, 20.0),
            _steady("spike", 7.5 * rate, 20.0),
            _steady("after", rate, 20.0),
        ),
    )


def soak(model: str, rate: float = 60.0) -> Scenario:
    """The same load for ten minutes: does anything drift?"""
    return Scenario(
        name="soak",
        model=model,
        phases=(_steady("warm-up", rate, 10.0, warmup=True), _steady("steady", rate, 600.0)),
    )


PRESETS: dict[str, Callable[[str, float], Scenario]] = {
    "smoke": smoke,
    "spike": spike,
    "soak": soak,
}


def named(name: str, model: str, rate: float) -> Scenario:
    """A preset by its name.

    Raises:
        Problem: There is none of that name.
    """
    if name not in PRESETS:
        raise Problem(f"There is no preset '{name}'.", f"Choose one of: {', '.join(PRESETS)}.")
    try:
        return PRESETS[name](model, rate)
    except ValidationError as error:
        raise Problem(f"The load is not valid: {validation_message(error)}.") from error


def changed(scenario: Scenario, protocol: str, workers: int) -> Scenario:
    """The same with another protocol and number of workers.

    Raises:
        Problem: One of them is not allowed.
    """
    data = scenario.model_dump() | {"protocol": protocol, "workers": workers}
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        raise Problem(f"The load is not valid: {validation_message(error)}.") from error


def _steady(name: str, rate: float, seconds: float, *, warmup: bool = False) -> Poisson:
    return Poisson(name=name, arrivals="poisson", rate=rate, duration_s=seconds, warmup=warmup)
