"""How to ask, said twice from one description: as OpenAPI 3.1 for programs, as a page that needs no network for people.

The page is one file of HTML without scripts, and its policy (`POLICY`) forbids the browser to load anything.
"""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from openlvm.serving.http import wire
from openlvm.serving.limits import Limits

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Content-Security-Policy of the page."""

PROBLEMS = {
    400: "No JSON, or a damaged multipart body.",
    401: "The token is missing or wrong.",
    403: "From a page of another site, or to a name that is not this machine's.",
    408: "The body came too slowly.",
    413: "More bytes, pixels or pictures than this server takes; refused before decoding.",
    415: "Another content type.",
    422: "Understood, but not what the verb needs, or no picture, or more than the context or the memory holds.",
    429: "Too many requests: try again after Retry-After seconds.",
    500: "Something broke here; the log has it under the id.",
    503: "The server is stopping, or the answer took longer than its time.",
}

EXAMPLES: dict[str, Any] = {
    "complete": {"images": [0, 1, 2], "num_frames": 2},
    "analogy": {"pairs": [[0, 1], [2, 3]], "query": 4, "num_candidates": 4},
    "compose": {"groups": [[[0, 1]], [[2, 3]]], "query": 4},
    "score": {"context": [0, 1], "target": 2},
    "choose": {"context": [0, 1], "options": [2, 3, 4]},
}
"""The part `request` of a multipart body, by verb."""


EVENT = {
    "type": "object",
    "description": "Each event; the last is the answer, as application/json has it, or an error.",
    "properties": {
        "event": {"enum": ["progress", "answer", "error"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
"""Of a stream (stream.py)."""


VERSION = "1.1"
"""Of the API: the first number stands in the paths, the second grows with what is added."""


def description(limits: Limits, *, has_token: bool) -> dict[str, Any]:
    """The OpenAPI description of a server."""
    refs: dict[str, Any] = {}
    paths: dict[str, Any] = {f"/v1/{verb}": {"post": _verb(verb, limits, refs)} for verb in wire.VERBS}
    for name, (model, text, told) in _GETS.items():
        content = {"text/plain": {"schema": {"type": "string"}}} if model is None else _json(_ref(model, refs))
        responses = {"200": {"description": told, "content": content}, **_problems(_OF_GET, refs)}
        if name == "health":
            responses["503"] = {"description": "The server is stopping.", "content": _json(_ref(wire.Health, refs))}
        paths[f"/v1/{name}"] = {"get": {"operationId": name, "summary": text, "responses": responses}}
    found: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "openlvm", "version": VERSION, "description": "Pictures in, pictures and scores out."},
        "paths": paths,
        "components": {"schemas": refs},
    }
    if has_token:
        found["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        for path, methods in paths.items():
            for operation in methods.values():
                operation["security"] = [] if path == "/v1/health" else [{"token": []}]
    return found


_GETS: dict[str, tuple[Any, str, str]] = {
    "models": (wire.Models, "The LVMs that are served", "Their names and sizes."),
    "health": (wire.Health, "Whether the server takes work", "It does."),
    "metrics": (None, "Counts for Prometheus", "Text format 0.0.4."),
}
_OF_GET = (401, 403)


def _verb(verb: str, limits: Limits, refs: dict[str, Any]) -> dict[str, Any]:
    model, answer = wire.VERBS[verb]
    inline, by_number = (wire.schema_of(verb, picture, refs) for picture in (wire.Inline, wire.Number))
    in_parts = {
        "type": "object",
        "properties": {
            "request": by_number,
            "pictures": {
                "type": "array",
                "items": {"type": "string", "format": "binary"},
                "minItems": 1,
                "maxItems": limits.max_pictures,
            },
        },
        "required": ["request", "pictures"],
        "additionalProperties": False,
    }
    parts = {"schema": in_parts, "encoding": {"request": {"contentType": "application/json"}}}
    content = _json(_ref(answer, refs))
    if answer is wire.Drawn:
        content["text/event-stream"] = {"schema": EVENT}
    return {
        "operationId": verb,
        "summary": str(model.__doc__).strip(),
        "requestBody": {"required": True, "content": {**_json(inline), "multipart/form-data": parts}},
        "responses": {"200": {"description": "The answer.", "content": content}, **_problems(tuple(PROBLEMS), refs)},
    }


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _ref(model: Any, refs: dict[str, Any]) -> dict[str, str]:
    """A reference to a model's schema, which is put among `refs`."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
    refs.update(schema.pop("$defs", {}))
    refs[model.__name__] = schema
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def _problems(statuses: Sequence[int], refs: dict[str, Any]) -> dict[str, Any]:
    found = {}
    for status in statuses:
        found[str(status)] = {"description": PROBLEMS[status], "content": _json(_ref(wire.Problem, refs))}
        if status == 429:
            found["429"]["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return found


# ------------------------------------------------------------------------------------------------- the page


STYLE = """
:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:0 auto;padding:1rem}
code,pre{font:14px/1.4 ui-monospace,monospace}
pre{overflow-x:auto;padding:.7rem;border:1px solid #8886;border-radius:6px}
table{border-collapse:collapse;width:100%;display:block;overflow-x:auto}td,th{text-align:left;vertical-align:top;
padding:.25rem .6rem .25rem 0;border-bottom:1px solid #8884}h2{margin-top:2.2rem}.note{opacity:.75}
"""


def page(told: Mapping[str, Any], limits: Limits) -> str:
    """The description as HTML."""
    verbs = [name for name in wire.VERBS if f"/v1/{name}" in told["paths"]]
    parts = [_head(told, limits), *(_section(name, told["paths"][f"/v1/{name}"]["post"]) for name in verbs)]
    parts.append("<h2>GET</h2><table>")
    for path, methods in told["paths"].items():
        if "get" in methods:
            parts.append(f"<tr><td><code>{path}</code></td><td>{escape(methods['get']['summary'])}</td></tr>")
    parts.append("</table><h2>Statuses</h2><table>")
    parts += [f"<tr><td>{status}</td><td>{escape(text)}</td></tr>" for status, text in PROBLEMS.items()]
    parts.append("</table></main></body></html>")
    return "\n".join(parts)


def _head(told: Mapping[str, Any], limits: Limits) -> str:
    granted = (
        f"{limits.max_pictures} pictures of {limits.max_megapixels:g} megapixels in {limits.max_body_mb:g} MiB, "
        f"{limits.max_candidates} candidates, {limits.max_drawn} pictures drawn, an ensemble of {limits.max_ensemble}, "
        f"{limits.request_seconds:g} s, {limits.rate:g} requests a second"
    )
    example = (
        "from openlvm.serving.client import Client\n\n"
        'client = Client("http://127.0.0.1:8000")\n'
        'done = client.analogy([("a.png", "A.png")], query="c.png", num_candidates=4)\n'
        "done.images    # uint8 [C, F, H, W, 3], as LVM.analogy's"
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>openlvm: the API</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{STYLE}</style></head><body><main><h1>openlvm {escape(told['info']['version'])}: the API</h1>"
        f"<p>{escape(told['info']['description'])} A body is JSON with pictures as base64, or multipart with the files "
        "<code>pictures</code> and one part <code>request</code>, in which a picture is the number of its file. "
        'Programs read <a href="openapi.json">openapi.json</a>.</p>'
        f'<p class="note">One request: at most {granted}.</p><pre>{escape(example)}</pre>'
    )


def _section(verb: str, operation: Mapping[str, Any]) -> str:
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    required = set(schema.get("required", ()))
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(_type(of) + _default(of))}</td>"
        f"<td>{escape(of.get('description', ''))}</td></tr>"
        for name, of in sorted(schema["properties"].items(), key=lambda one: one[0] not in required)
    )
    example = EXAMPLES[verb]
    files = " ".join(f"-F pictures=@{number}.png" for number in range(1 + max(_numbers(example))))
    curl = f"curl 127.0.0.1:8000/v1/{verb} {files} \\\n  -F 'request={json.dumps(example)}'"
    return (
        f'<h2 id="{verb}">POST <code>/v1/{verb}</code></h2><p>{escape(operation["summary"])}</p>'
        f"<pre>{escape(curl)}</pre>"
        f"<table><tr><th>field</th><th>type, default</th><th></th></tr>{rows}</table>"
    )


def _type(schema: Mapping[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return " or ".join(map(json.dumps, schema["enum"]))
    if schema.get("format") == "picture":
        return "picture"
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}s"
    return str(schema.get("type", ""))


def _default(schema: Mapping[str, Any]) -> str:
    return "" if schema.get("default") is None else f", {json.dumps(schema['default'])}"


def _numbers(value: Any) -> list[int]:
    """The numbers of pictures in an example: all integers within lists, and those of the fields that are pictures."""
    if isinstance(value, dict):
        named = [inner for name, inner in value.items() if name not in ("num_frames", "num_candidates")]
        return [number for inner in named for number in _numbers(inner)]
    return [number for inner in value for number in _numbers(inner)] if isinstance(value, list) else [value]
