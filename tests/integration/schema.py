# SPDX-License-Identifier: Apache-2.0
"""Validates JSON against a JSON Schema: with python3-jsonschema where it is installed, else with the part of the
standard that our schema uses. An unknown keyword is an error, so that nothing is taken for checked by mistake."""

import json
import re

from harness import ROOT

SCHEMA = ROOT / "core/render/hangscope-1.schema.json"
_NOTES = {"$schema", "$id", "$defs", "definitions", "title", "description", "$comment", "examples", "default"}


def errors(data, schema=None):
    """A list of texts, empty when the data is valid."""
    schema = schema or json.loads(SCHEMA.read_text())
    return _with_library(data, schema) or list(_check(data, schema, schema, "$"))


def _with_library(data, schema):
    try:
        import jsonschema
    except ImportError:
        return []
    validator = jsonschema.validators.validator_for(schema)(schema)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(data)]


def _is_type(data, name):
    if name == "integer":
        return isinstance(data, int) and not isinstance(data, bool)
    if name == "number":
        return isinstance(data, (int, float)) and not isinstance(data, bool)
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    return isinstance(data, kinds[name])


def _resolve(ref, root):
    node = root
    for part in ref.removeprefix("#/").split("/"):
        node = node[part]
    return node


def _check(data, schema, root, path):
    if schema is True:
        return
    if schema is False:
        yield f"{path}: nothing may be here"
        return
    for keyword, value in schema.items():
        if keyword in _NOTES:
            continue
        check = _KEYWORDS.get(keyword)
        if check is None:
            yield f"{path}: this validator does not know the keyword {keyword}"
        else:
            yield from check(data, value, schema, root, path)


def _type(data, value, _schema, _root, path):
    names = [value] if isinstance(value, str) else value
    if not any(_is_type(data, name) for name in names):
        yield f"{path}: {data!r:.80} is not {' or '.join(names)}"


def _enum(data, value, _schema, _root, path):
    if data not in value:
        yield f"{path}: {data!r:.80} is none of {value}"


def _const(data, value, _schema, _root, path):
    if data != value:
        yield f"{path}: {data!r:.80} is not {value!r}"


def _ref(data, value, _schema, root, path):
    yield from _check(data, _resolve(value, root), root, path)


def _required(data, value, _schema, _root, path):
    if isinstance(data, dict):
        for key in value:
            if key not in data:
                yield f"{path}: {key} is missing"


def _properties(data, value, _schema, root, path):
    if isinstance(data, dict):
        for key, sub in value.items():
            if key in data:
                yield from _check(data[key], sub, root, f"{path}.{key}")


def _additional(data, value, schema, root, path):
    if isinstance(data, dict):
        for key in data.keys() - schema.get("properties", {}).keys():
            yield from _check(data[key], value, root, f"{path}.{key}")


def _items(data, value, _schema, root, path):
    if isinstance(data, list):
        for i, item in enumerate(data):
            yield from _check(item, value, root, f"{path}[{i}]")


def _any_of(data, value, _schema, root, path):
    tries = [list(_check(data, sub, root, path)) for sub in value]
    if all(tries):
        yield f"{path}: no alternative fits: {tries[0][0]}"


def _all_of(data, value, _schema, root, path):
    for sub in value:
        yield from _check(data, sub, root, path)


def _pattern(data, value, _schema, _root, path):
    if isinstance(data, str) and not re.search(value, data):
        yield f"{path}: {data!r:.80} does not match {value}"


def _limit(fits, kinds):
    def check(data, value, _schema, _root, path):
        if isinstance(data, kinds) and not isinstance(data, bool) and not fits(data, value):
            yield f"{path}: {data!r:.80} is out of bounds ({value})"

    return check


_KEYWORDS = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "$ref": _ref,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "anyOf": _any_of,
    "oneOf": _any_of,
    "allOf": _all_of,
    "pattern": _pattern,
    "minimum": _limit(lambda d, v: d >= v, (int, float)),
    "maximum": _limit(lambda d, v: d <= v, (int, float)),
    "minLength": _limit(lambda d, v: len(d) >= v, str),
    "maxLength": _limit(lambda d, v: len(d) <= v, str),
    "minItems": _limit(lambda d, v: len(d) >= v, list),
    "maxItems": _limit(lambda d, v: len(d) <= v, list),
    "uniqueItems": _limit(lambda d, v: not v or len({repr(x) for x in d}) == len(d), list),
}
