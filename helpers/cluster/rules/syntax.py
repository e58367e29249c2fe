"""Names, labels and other text forms of the Kubernetes API.

Source: `staging/src/k8s.io/apimachinery/pkg/util/validation/validation.go`.
"""

import ipaddress
import re

LABEL_1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_PORT_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
ENV_NAME = re.compile(r"[-._a-zA-Z][-._a-zA-Z0-9]*")
PERCENT = re.compile(r"\d+%")
DURATION = re.compile(r"((\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?)")
_UNIT_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000,
            "m": 60_000, "s": 1000, "ms": 1}  # fmt: skip


def is_label_1123(text: str) -> bool:
    """A DNS label, at most 63 characters."""
    return len(text) <= 63 and LABEL_1123.fullmatch(text) is not None


def is_label_1035(text: str) -> bool:
    """A DNS label that begins with a letter."""
    return len(text) <= 63 and LABEL_1035.fullmatch(text) is not None


def is_subdomain(text: str) -> bool:
    """A DNS name, at most 253 characters."""
    return len(text) <= 253 and SUBDOMAIN.fullmatch(text) is not None


def is_qualified(text: str) -> bool:
    """A key of labels and annotations: `prefix/name`, the prefix a DNS name.

    >>> is_qualified("app.kubernetes.io/name"), is_qualified("a b"), is_qualified("/x")
    (True, False, False)
    """
    prefix, slash, name = text.rpartition("/")
    if slash and not is_subdomain(prefix):
        return False
    return len(name) <= 63 and _QUALIFIED.fullmatch(name) is not None


def is_label_value(text: str) -> bool:
    """A label's value: at most 63 characters; may be empty."""
    return len(text) <= 63 and _LABEL_VALUE.fullmatch(text) is not None


def is_port_name(text: str) -> bool:
    """A port's name: at most 15 characters, one of them a letter.

    >>> is_port_name("http"), is_port_name("metrics-of-triton"), is_port_name("8000")
    (True, False, False)
    """
    return (
        len(text) <= 15
        and _PORT_NAME.fullmatch(text) is not None
        and "--" not in text
        and any(one.isalpha() for one in text)
    )


def is_port(number: int | None) -> bool:
    """A port's number."""
    return number is not None and 1 <= number <= 65_535


def is_cidr(text: str) -> bool:
    """A range of addresses whose host bits are zero."""
    try:
        return "/" in text and ipaddress.ip_network(text) is not None
    except ValueError:
        return False


def milliseconds(text: str) -> int | None:
    """The length of one of Prometheus' durations; None where it is none.

    >>> milliseconds("1m30s"), milliseconds("5 s"), milliseconds("")
    (90000, None, None)
    """
    if text == "0":
        return 0
    if not text or DURATION.fullmatch(text) is None:
        return None
    return sum(int(n) * _UNIT_MS[unit] for n, unit in re.findall(r"(\d+)(ms|[ywdhms])", text))


PORT_NAME_RULE = "a name of at most 15 characters a-z, 0-9 and '-', one of them a letter"
LABEL_RULE = "at most 63 characters a-z, 0-9 and '-', beginning and ending with a letter or digit"
