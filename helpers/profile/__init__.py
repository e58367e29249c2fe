"""A profile: everything a run may choose, in one typed schema."""

from helpers.profile.files import names
from helpers.profile.measuring import Kpis
from helpers.profile.messages import sentence
from helpers.profile.serving import Network, Serving
from helpers.profile.stack import Infrastructure
from helpers.profile.target import LABEL, Target
from helpers.profile.whole import Profile

__all__ = [
    "LABEL",
    "Infrastructure",
    "Kpis",
    "Network",
    "Profile",
    "Serving",
    "Target",
    "names",
    "sentence",
]
