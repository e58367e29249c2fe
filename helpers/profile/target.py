"""Where a run happens, and the words that say so wherever its figures are shown."""

from typing import Literal

Target = Literal["rehearsal", "aws"]
LABEL: dict[Target, str] = {
    "rehearsal": "REHEARSAL: this machine only, no cloud account; figures are not GPU figures.",
    "aws": "AWS: real resources that cost money until stage 06 has removed them.",
}
