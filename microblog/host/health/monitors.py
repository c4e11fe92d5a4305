"""The status as monitors read it: Prometheus' text format, and Nagios' line and exit code."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from microblog.errors import HostError
from microblog.host.health.status import Fact

# https://nagios-plugins.org/doc/guidelines.html, plugin return codes.
OK, WARNING, CRITICAL, UNKNOWN = range(4)
_WORDS = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
# Without these visitors have no site; what else is wrong has time until somebody is awake.
_CRITICAL = frozenset({"database", "application", "visitors", "supervisor", "nginx"})


def nagios(look: Callable[[], Mapping[str, Fact]]) -> tuple[str, int]:
    """:return: the line that is shown, and the exit code."""
    try:
        facts = look()
    except HostError as error:
        return f"MICROBLOG {_WORDS[UNKNOWN]} - {error.message}".replace("|", "/"), UNKNOWN
    bad = {name: fact for name, fact in facts.items() if not fact.ok}
    code = CRITICAL if _CRITICAL & bad.keys() else WARNING if bad else OK
    told = "; ".join(f"{name}: {fact.text}" for name, fact in bad.items()) or facts["visitors"].text
    # What comes after a bar would be performance data.
    return f"MICROBLOG {_WORDS[code]} - {told}".replace("|", "/"), code


def prometheus(facts: Mapping[str, Fact]) -> str:
    """In the text format (https://prometheus.io/docs/instrumenting/exposition_formats/).

    Each fact as ``microblog_ok{what="..."}``, 1 or 0; each figure as ``microblog_WHAT_FIGURE``.
    """
    lines = [
        "# HELP microblog_ok Whether a part of the site is well.",
        "# TYPE microblog_ok gauge",
        *(f'microblog_ok{{what="{name}"}} {int(fact.ok)}' for name, fact in facts.items()),
        "# HELP microblog_info The version that is installed.",
        "# TYPE microblog_info gauge",
        f'microblog_info{{version="{_escaped(facts["version"].text)}"}} 1',
    ]
    for name, fact in facts.items():
        for figure, value in fact.values.items():
            lines += _figures(f"microblog_{name}_{figure}", figure, name, value)
    return "".join(f"{line}\n" for line in _once(lines))


def _figures(metric: str, figure: str, name: str, value: Any) -> list[str]:
    if isinstance(value, dict):
        # The disk's: a folder, and what is free there.
        return [
            line
            for inner, number in value.items()
            for line in _gauge(f"microblog_{name}_{inner}", number, f'{{folder="{_escaped(figure)}"}}')
        ]
    return _gauge(metric, value)


def _gauge(metric: str, value: Any, labels: str = "") -> list[str]:
    if not isinstance(value, (bool, int, float)):
        return []
    metric = re.sub(r"\W", "_", metric)
    return [f"# TYPE {metric} gauge", f"{metric}{labels} {float(value):.15g}"]


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _once(lines: list[str]) -> list[str]:
    """All of a metric's lines together, under one TYPE: the format asks for that."""
    found: dict[str, list[str]] = {}
    for line in lines:
        metric = line.split()[2] if line.startswith("#") else re.split(r"[{ ]", line)[0]
        if line not in found.setdefault(metric, []):
            found[metric].append(line)
    return [line for group in found.values() for line in group]
