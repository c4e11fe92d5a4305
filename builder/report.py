"""What became of images, as a table for people and as JSON for programs."""

import json
from collections.abc import Sequence

from builder.core.errors import BuildError
from builder.core.progress import duration
from builder.make import Attempt, failures
from builder.vm import check as tests

_HEAD = ("image", "base", "bake", "checks", "size", "time")


def table(attempts: Sequence[Attempt]) -> str:
    """One row an image, and below it each failure in a line of its own, with where to read more."""
    rows = [_HEAD, *(_row(attempt) for attempt in attempts)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return "\n".join([*lines, *(line for attempt in attempts for line in _failures(attempt))])


def _row(attempt: Attempt) -> tuple[str, ...]:
    took = duration(attempt.seconds)
    if attempt.result is None:
        return (attempt.name, "-", "failed", "-", "-", took)
    facts = attempt.result.facts
    size = f"{attempt.result.image.stat().st_size / 1e6:.0f} MB"
    return (attempt.name, facts.base.name, duration(facts.bake_s), _checks(attempt), size, took)


def _checks(attempt: Attempt) -> str:
    if attempt.error:
        passed = getattr(getattr(attempt.error, "outcome", None), "passed", 0)
        return f"{passed} passed, {len(attempt.failures)} failed" if attempt.failures else "failed"
    checked = attempt.result.facts.check if attempt.result else None
    return f"{checked.passed} passed" if checked else "not checked"


def _failures(attempt: Attempt) -> list[str]:
    if attempt.failures:
        return [f"{attempt.name}: {one.what}: {one.why} ({one.log})" for one in attempt.failures]
    if attempt.error:
        return [f"{attempt.name}: {attempt.error.message}. {attempt.error.hint}".rstrip(". ")]
    return []


def as_json(attempts: Sequence[Attempt]) -> str:
    """A list: each image's manifest with the paths of image and manifest, and what failed."""
    return json.dumps([_told(attempt) for attempt in attempts])


def _told(attempt: Attempt) -> dict[str, object]:
    told: dict[str, object] = {"target": attempt.name}
    if attempt.result:
        told |= {
            **attempt.result.facts.as_dict(),
            "image": str(attempt.result.image),
            "manifest": str(attempt.result.manifest),
        }
    if attempt.error:
        told["error"] = attempt.error.message
        told["failed"] = _failed(attempt.error)
    return told


def told(error: BuildError) -> dict[str, object]:
    """What a check that did not pass has for programs: as much as was found out, why it is not good, and the
    checks that failed."""
    found: dict[str, object] = {}
    if isinstance(error, tests.ChecksFailed):
        found = {
            "passed": error.outcome.passed,
            "left_out": len(error.outcome.left_out),
            "seconds": error.seconds,
        }
    return {**found, "error": error.message, "failed": _failed(error)}


def _failed(error: BuildError) -> list[dict[str, str]]:
    return [{"what": one.what, "why": one.why, "log": str(one.log)} for one in failures(error)]
