"""Finds figures in a text that no record of a run holds."""

import re
from collections.abc import Iterable, Iterator
from html import unescape

from helpers.evidence.kpis import format_figure
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
# constants that any text may use, and why
ALLOWED = {
    ("share", "95"): "confidence of every interval, and a percentile",
    ("share", "99"): "a percentile",
    ("money", "0.01"): "the price of one Cost Explorer request",
    ("ms", "15"): "MLPerf's limit for ResNet50 in its Server scenario",
}


def unsupported_figures(text: str, ledger: Ledger, quoted: Iterable[str] = ()) -> list[str]:
    """Figures with a unit that are in a text but not in the ledger.

    A figure is supported when the ledger has a value of the same kind that is written the same way
    with as many digits. Numbers without a unit (versions, dates, counts of stages) are skipped.

    Args:
        text: Plain text, as `text_of_page` and `text_of_markdown` return it.
        ledger: The run's figures.
        quoted: Sentences copied word for word from the run's records; they are skipped.
    """
    for sentence in sorted(filter(None, quoted), key=len, reverse=True):
        text = text.replace(sentence, " ")
    known = {(_kind(claim.unit), shown) for claim in ledger.claims for shown in _spellings(claim)}
    figures = [(_kind(match["unit"]), match[part], match.group())
               for match in _FIGURE.finditer(text)
               for part in ("number", "low", "high") if match[part]]  # fmt: skip
    figures += [("money", match["number"], match.group()) for match in _MONEY_BEFORE.finditer(text)]
    return list(
        dict.fromkeys(
            " ".join(quote.split())
            for kind, number, quote in figures
            if (kind, number) not in known and (kind, number) not in ALLOWED
        )
    )


def text_of_page(page: str) -> str:
    """The text that a reader of an HTML page sees."""
    return unescape(_TAG.sub(" ", _HIDDEN.sub(" ", page)))


def text_of_markdown(text: str) -> str:
    """The text of a Markdown file, without its code."""
    return _CODE.sub(" ", _HIDDEN.sub(" ", text))


def _kind(unit: str) -> str:
    """The kind of a unit: `requests/s` and `requests a second` are both a rate."""
    kinds = (kind for kind, pattern in _UNITS.items() if re.fullmatch(pattern, unit))
    return next(kinds, unit)


def _spellings(claim: Claim) -> Iterator[str]:
    """The ways a value may be written: as the ledger shows it, or with fewer digits."""
    yield claim.text.removesuffix(f" {claim.unit}")
    yield format_figure(claim.value)
    yield f"{claim.value:,g}"
    yield from (f"{abs(claim.value):,.{places}f}" for places in range(5))
