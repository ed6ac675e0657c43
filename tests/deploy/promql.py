"""promql: which series an expression of Prometheus asks for."""

import re

_SERIES = re.compile(r"\b((?:fanfare|redis|process)_\w+)\s*(\{[^}]*\})?")
_MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')

TARGET_LABELS = {"job", "instance", "namespace"}
"""Labels that Prometheus adds to what it scrapes."""


def selectors(expression):
    """[(sample name, {label: (operator, value)})] without the labels of the target."""
    found = []
    for name, matchers in _SERIES.findall(expression):
        labels = {label: (operator, value) for label, operator, value in _MATCHER.findall(matchers)}
        found.append((name, {label: match for label, match in labels.items() if label not in TARGET_LABELS}))
    return found


def select(samples, name, labels):
    """Those of {(name, labels): value} that the selector selects."""
    return {key: value for key, value in samples.items()
            if key[0] == name and all(_matches(dict(key[1]).get(label), *match) for label, match in labels.items())}


def _matches(value, operator, wanted):
    if operator in ("=~", "!~"):
        return (re.fullmatch(wanted, value or "") is not None) == (operator == "=~")
    return ((value or "") == wanted) == (operator == "=")


def grouping_labels(expression):
    """The labels in `by (...)`, `on (...)`."""
    return {label for names in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression) for label in re.split(r"\s*,\s*", names.strip())}
