"""What stage 03 records of the image."""

from typing import Self

from pydantic import Field

from helpers.run import Record


class Published(Record, stage="03", name="image"):
    """The image that was pushed.

    Attributes:
        reference: `registry/repository@sha256:…`, as it is deployed; empty where there is none.
        digest: Of its manifest, read back from the registry.
        tag: Of its content, for people.
        builder: What built it.
        base: What it stands on.
        place: The registry, as people call it.
        files: Files of the model repository in it.
        agrees: Whether the registry's digest is the one that was pushed, and every file is there.
        findings: The scan's findings by severity.
        scan_note: What the scan says, or why there is none.
        absent: Why there is no image; empty where there is one.
    """

    reference: str
    digest: str
    tag: str
    builder: str
    base: str
    place: str
    files: int
    agrees: bool
    findings: dict[str, int] = Field(default_factory=dict)
    scan_note: str = ""
    absent: str = ""

    @classmethod
    def none(cls, why: str) -> Self:
        """No image, and why."""
        return cls(
            reference="", digest="", tag="", builder="", base="", place="", files=0,
            agrees=False, absent=why,
        )  # fmt: skip

    @property
    def summary(self) -> str:
        """One sentence: what was pushed where."""
        if self.absent:
            return self.absent
        return (
            f"{self.files} files of the model repository, built by {self.builder}, pushed to "
            f"{self.place}; digest {self.digest[:19]}… read back"
        )
