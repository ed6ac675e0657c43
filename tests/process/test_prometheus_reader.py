"""The strict reader of /metrics refuses what it should: otherwise test_http.py would prove nothing."""

import pytest

from lib.prometheus import FormatError, parse

GOOD = """# HELP a_total things
# TYPE a_total counter
a_total{kind="x\\"y\\\\z\\n"} 3
a_total{kind="b",more="c"} 4
# HELP g level
# TYPE g gauge
g -1.5e3
# HELP h sizes
# TYPE h histogram
h_bucket{le="1"} 1
h_bucket{le="+Inf"} 3
h_sum 12
h_count 3
"""

BAD = {
    "no newline at the end": GOOD[:-1],
    "an empty line": GOOD.replace("# HELP g", "\n# HELP g"),
    "a sample without type": GOOD + "loose 1\n",
    "a family in two pieces": GOOD + 'a_total{kind="late"} 1\n',
    "a type twice": GOOD + "# TYPE g gauge\n",
    "a series twice": GOOD.replace("g -1.5e3\n", "g 1\ng 1\n"),
    "an unknown type": GOOD.replace("g gauge", "g meter"),
    "a word for a number": GOOD.replace("-1.5e3", "lots"),
    "a negative counter": GOOD.replace('"c"} 4', '"c"} -4'),
    "buckets that shrink": GOOD.replace('le="1"} 1', 'le="1"} 5'),
    "a count that is not the last bucket": GOOD.replace("h_count 3", "h_count 4"),
    "no +Inf bucket": GOOD.replace('h_bucket{le="+Inf"} 3\n', ""),
    "no sum": GOOD.replace("h_sum 12\n", ""),
    "no help": GOOD.replace("# HELP g level\n", ""),
    "an open quote": GOOD.replace('"b",', '"b,'),
    "a label twice": GOOD.replace("more=", "kind="),
    "a comma at the end": GOOD.replace('"c"}', '"c",}'),
}


def test_valid_text_is_read():
    metrics = parse(GOOD)
    assert metrics.value("a_total", kind='x"y\\z\n') == 3
    assert metrics.value("g") == -1500
    assert metrics.names() == {"a_total", "g", "h"}


@pytest.mark.parametrize("name", BAD)
def test_invalid_text_is_refused(name):
    with pytest.raises(FormatError):
        parse(BAD[name])
