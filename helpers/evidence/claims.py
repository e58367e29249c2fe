"""Finds figures in a text that no record of the run holds."""

import re
from collections.abc import Iterable, Iterator
from html import unescape

from helpers.evidence import numbers
from helpers.evidence.ledger import Claim, Ledger

_NUMBER = r"\d[\d,]*(?:\.\d+)?"
_UNITS = {
    "ms": r"ms\b",
    "rate": r"requests/s|requests a second|(?:answers )?per second|/s\b",
    "share": r"%|per cent",
    "money": r"US\$|USD",
    "count": r"good answers|requests\b",
    "hours": r"GPU hours|GPU-hours",
}
_MONEY_BEFORE = re.compile(rf"(?:US)?\$\s?(?P<number>{_NUMBER})")
# a figure, perhaps with its interval, then its unit: 4.81 (4.49–5.03) ms
_FIGURE = re.compile(
    rf"(?<![\w.$])(?P<number>{_NUMBER})(?:\s?\((?P<low>{_NUMBER})\s?[–-]\s?(?P<high>{_NUMBER})\))?"
    rf"\s?(?P<unit>{'|'.join(_UNITS.values())})"
)
_HIDDEN = re.compile(r"<(style|script)\b.*?</\1>|<!--.*?-->", re.S | re.I)
_TAG = re.compile(r"<[^>]+>")
_CODE = re.compile(r"```.*?```|`[^`]*`", re.S)
# what is no measurement of any run, and why it may stand in a text
STANDING = {
    ("share", "95"): "confidence of every interval, and a percentile",
    ("share", "99"): "a percentile",
    ("money", "0.01"): "what Cost Explorer takes for a question",
    ("ms", "15"): "MLPerf's limit for ResNet50 in its Server scenario",
}


def unclaimed(text: str, ledger: Ledger, quoted: Iterable[str] = ()) -> list[str]:
    """Figures with a unit that stand in a text and in no record.

    A figure is held when the ledger has a value of its kind that is written the same way with as
    many digits. Numbers without a unit (versions, dates, counts of stages) are not looked at.

    Args:
        text: Plain text, as `of_page` and `of_markdown` make it.
        ledger: What the run holds.
        quoted: Sentences that stand word for word in the run's records; they are passed over.
    """
    for sentence in sorted(filter(None, quoted), key=len, reverse=True):
        text = text.replace(sentence, " ")
    held = {(kind(one), shown) for one in ledger.claims for shown in _ways(one)} | set(STANDING)
    found = []
    for unit, number, quote in _figures(text):
        if (unit, number) not in held and quote not in found:
            found.append(quote)
    return found


def of_page(page: str) -> str:
    """The text that a reader of an HTML page sees."""
    plain: str = unescape(_TAG.sub(" ", _HIDDEN.sub(" ", page)))
    return plain


def of_markdown(text: str) -> str:
    """The text of a Markdown file, without its code."""
    return _CODE.sub(" ", _HIDDEN.sub(" ", text))


def kind(claim: Claim) -> str:
    """The kind of a claim's unit."""
    for name, pattern in _UNITS.items():
        if re.fullmatch(pattern, claim.unit):
            return name
    return claim.unit


def _ways(claim: Claim) -> Iterator[str]:
    """The ways in which a value may be written: as shown, or with fewer digits."""
    yield numbers.measured(claim.value)
    yield numbers.chosen(claim.value)
    yield from (f"{abs(claim.value):,.{digits}f}" for digits in range(5))


def _figures(text: str) -> Iterator[tuple[str, str, str]]:
    for match in _FIGURE.finditer(text):
        unit = next(
            name for name, pattern in _UNITS.items() if re.fullmatch(pattern, match["unit"])
        )
        for part in ("number", "low", "high"):
            if match[part]:
                yield unit, match[part], " ".join(match.group().split())
    for match in _MONEY_BEFORE.finditer(text):
        yield "money", match["number"], match.group()
