"""prometheus: a strict reader of the Prometheus text format, version 0.0.4.

It refuses what a lenient scraper would let pass: samples before their TYPE, a family in two pieces, a duplicate
series, a histogram whose buckets do not add up, a negative counter.
"""

import collections
import math
import re

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"')
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.*)\}})? (\S+)(?: (-?\d+))?")
_COMMENT = re.compile(rf"# (HELP|TYPE) ({_NAME}) (.*)")
_TYPES = ("counter", "gauge", "histogram", "summary", "untyped")


class FormatError(AssertionError):
    """The text is not valid."""


class Metrics:
    """What one scrape said."""

    def __init__(self):
        self.types = {}
        self.help = {}
        self.samples = collections.OrderedDict()

    def value(self, name, **labels):
        """The value of one series; KeyError if it is not there."""
        return self.samples[name, tuple(sorted(labels.items()))]

    def names(self):
        """All metric families."""
        return set(self.types)

    def series(self, name):
        """All series of one sample name: {labels tuple: value}."""
        return {labels: value for (sample, labels), value in self.samples.items() if sample == name}


def parse(text):
    """Parse and check; returns Metrics or raises FormatError."""
    require(text.endswith("\n"), "the last line has no newline")
    metrics, current, done = Metrics(), None, set()
    for line in text[:-1].split("\n"):
        require(line == line.strip() and line, f"blank or untrimmed line {line!r}")
        if line.startswith("#"):
            family = _comment(metrics, line)
        else:
            name, labels, value = _sample(line)
            family = _family(metrics, name)
            require((name, labels) not in metrics.samples, f"series twice: {line}")
            metrics.samples[name, labels] = value
        if family != current:
            require(family not in done, f"family {family} comes in two pieces")
            done.add(current)
            current = family
    _check_families(metrics)
    return metrics


def require(condition, text):
    """Raise unless it holds."""
    if not condition:
        raise FormatError(text)


def _comment(metrics, line):
    match = _COMMENT.fullmatch(line)
    require(match, f"not a HELP or TYPE line: {line!r}")
    what, name, rest = match.groups()
    table = metrics.help if what == "HELP" else metrics.types
    require(name not in table, f"{what} of {name} twice")
    table[name] = rest
    if what == "TYPE":
        require(rest in _TYPES, f"unknown type: {line!r}")
    else:
        require(rest, f"empty help: {line!r}")
    return name


def _sample(line):
    match = _SAMPLE.fullmatch(line)
    require(match, f"not a sample: {line!r}")
    name, label_text, value, _ = match.groups()
    try:
        number = float(value)
    except ValueError as exc:
        raise FormatError(f"not a number: {line!r}") from exc
    return name, _labels(label_text, line), number


def _labels(text, line):
    pairs, rest = [], text or ""
    while rest:
        match = _LABEL.match(rest)
        require(match, f"bad labels: {line!r}")
        pairs.append((match.group(1), re.sub(r"\\(.)", lambda m: "\n" if m.group(1) == "n" else m.group(1), match.group(2))))
        rest = rest[match.end():]
        require(rest == "" or rest.startswith(",") and len(rest) > 1, f"bad labels: {line!r}")
        rest = rest[1:]
    require(len(dict(pairs)) == len(pairs), f"label twice: {line!r}")
    return tuple(sorted(pairs))


def _family(metrics, name):
    if name in metrics.types:
        return name
    for suffix in ("_bucket", "_sum", "_count"):
        base = name.removesuffix(suffix)
        if base != name and metrics.types.get(base) in ("histogram", "summary"):
            return base
    raise FormatError(f"{name} has no TYPE before it")


def _check_families(metrics):
    for name, kind in metrics.types.items():
        require(name in metrics.help, f"{name} has no HELP")
        if kind == "counter":
            require(all(v >= 0 and math.isfinite(v) for v in metrics.series(name).values()), f"{name} is negative")
        elif kind == "histogram":
            _check_histogram(metrics, name)


def _check_histogram(metrics, name):
    groups = collections.defaultdict(list)
    for labels, value in metrics.series(name + "_bucket").items():
        rest = tuple(pair for pair in labels if pair[0] != "le")
        require(len(rest) == len(labels) - 1, f"{name}: a bucket without le")
        groups[rest].append((float(dict(labels)["le"]), value))
    require(groups, f"histogram {name} has no buckets")
    for labels, buckets in groups.items():
        bounds = [bound for bound, _ in buckets]
        require(bounds == sorted(set(bounds)) and bounds[-1] == math.inf, f"{name}: bounds {bounds}")
        counts = [count for _, count in buckets]
        require(counts == sorted(counts), f"{name}: buckets shrink")
        require(metrics.samples.get((name + "_count", labels)) == counts[-1], f"{name}: count is not the last bucket")
        require((name + "_sum", labels) in metrics.samples, f"{name}: no sum")
