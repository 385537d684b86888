"""The comparison as text for a terminal and as a page of the documentation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from conformance.cases.fields import IMPORTANT
from conformance.compare import Comparison, Difference

EXAMPLES = 3
WIDTH = 160


def lines(comparison: Comparison, *, brief: bool) -> Iterator[str]:
    """Yield every unexplained difference (``brief``: those alike in one line), then the count of each area."""
    yield from _alike(comparison.unexplained) if brief else map(str, comparison.unexplained)
    yield ""
    yield from (f"{count:5} explained: {reason}" for reason, count in comparison.reasons.items())
    yield ""
    yield from (
        f"{area:10} {cases:6} cases, {bad:5} differ, {explained:5} of them explained"
        for area, cases, bad, explained in _areas(comparison)
    )


def markdown(comparison: Comparison) -> Iterator[str]:
    """Yield the lines of docs/reference/conformance.md."""
    yield "# Conformance with EPICS base\n"
    yield "`python -m conformance` starts the C softIoc of epicscorelibs and a rackioc server with the same records,"
    yield "makes the same libca calls to both, sends both what libca never would, and compares all that comes back."
    yield "This page is its output.\n"
    yield "| area | cases | with a difference | of them explained |"
    yield "| --- | ---: | ---: | ---: |"
    yield from (f"| {area} | {cases} | {bad} | {explained} |" for area, cases, bad, explained in _areas(comparison))
    yield "\n## Differences that are meant\n"
    yield "| differences | reason |"
    yield "| ---: | --- |"
    yield from (f"| {count} | {reason} |" for reason, count in comparison.reasons.items())
    yield "\n## Differences that are not explained\n"
    if not comparison.unexplained:
        yield "None."
    yield from (f"- {text}" for text in _alike(comparison.unexplained))


def _areas(comparison: Comparison) -> Iterator[tuple[str, int, int, int]]:
    differing = {difference.key for difference in comparison.differences}
    open_ = {difference.key for difference in comparison.unexplained}
    bad, unexplained = (Counter(key.partition("/")[0] for key in keys) for keys in (differing, open_))
    for area, cases in comparison.cases.items():
        yield area, cases, bad[area], bad[area] - unexplained[area]


def _alike(differences: Iterable[Difference]) -> Iterator[str]:
    """Yield a line for all differences of an area with the same two values, and one of fields for each record."""
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    unserved: dict[str, list[str]] = {}
    for each in differences:
        if each.aspect == "served":
            _, record, field = each.key.split("/")
            unserved.setdefault(f"{record}: {'not served' if each.base == 'true' else 'only here'}", []).append(field)
        else:
            groups.setdefault((each.area, each.aspect, each.base, each.rackioc), []).append(each.key)
    yield from (f"{where}: {_fields(fields)}" for where, fields in unserved.items())
    for (area, aspect, base, rackioc), keys in sorted(groups.items(), key=lambda group: -len(group[1])):
        more = f" and {len(keys) - EXAMPLES} more" if len(keys) > EXAMPLES else ""
        yield f"{area} [{aspect}] base {_short(base)} | rackioc {_short(rackioc)}: {', '.join(keys[:EXAMPLES])}{more}"


def _fields(fields: list[str]) -> str:
    """Return the fields in one text, first those that clients ask for first."""
    important = [field for field in fields if field in IMPORTANT]
    others = [field for field in fields if field not in IMPORTANT]
    return "; others: ".join(" ".join(names) for names in (important, others) if names)


def _short(text: str) -> str:
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}..."
