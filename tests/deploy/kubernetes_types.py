"""kubernetes_types: does a manifest have the type that it says it has? By the models of Kubernetes's own Python client.

The client's deserializer ignores what it does not know; here an unknown field, a wrong type or a missing required
field is an error, which is what `kubectl apply --validate=strict` reports.
"""

import re

from kubernetes import client

_PLAIN = {"str": str, "int": int, "bool": bool, "float": (int, float), "datetime": str}


def check(document):
    """A list of what is wrong with the document: texts with the path of the field. Empty: nothing."""
    version = document["apiVersion"].rpartition("/")[2]
    model = f"V{version[1:]}{document['kind']}"
    if not hasattr(client, model):
        return [f"no type {document['apiVersion']} {document['kind']}"]
    problems = []
    _check_value(model, document, document["kind"], problems)
    return problems


def _check_value(kind, value, path, problems):
    listed = re.fullmatch(r"list\[(.*)\]", kind)
    mapped = re.fullmatch(r"dict\(str, (.*)\)", kind)
    if listed and isinstance(value, list):
        for index, item in enumerate(value):
            _check_value(listed.group(1), item, f"{path}[{index}]", problems)
    elif mapped and isinstance(value, dict):
        for key, item in value.items():
            _check_value(mapped.group(1), item, f"{path}.{key}", problems)
    elif kind in _PLAIN:
        is_bool_as_number = kind != "bool" and isinstance(value, bool)
        if not isinstance(value, _PLAIN[kind]) or is_bool_as_number:
            problems.append(f"{path}: expected {kind}, got {value!r}")
    elif hasattr(client, kind) and isinstance(value, dict):
        _check_object(getattr(client, kind), value, path, problems)
    elif kind != "object":
        problems.append(f"{path}: expected {kind}, got {value!r}")


def _check_object(model, value, path, problems):
    names = {outer: inner for inner, outer in model.attribute_map.items()}
    known = {key: item for key, item in value.items() if key in names}
    problems += [f"{path}.{key}: no such field" for key in value if key not in names]
    for key, item in known.items():
        _check_value(model.openapi_types[names[key]], item, f"{path}.{key}", problems)
    try:
        model(**{names[key]: item for key, item in known.items()})  # knows which fields must be there, and some ranges
    except ValueError as exc:
        problems.append(f"{path}: {exc}")
