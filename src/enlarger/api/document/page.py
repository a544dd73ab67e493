"""The document as a page: one file that loads nothing and runs nothing, for networks that are closed."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterator
from typing import Any

STYLE = """\
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem; }
code, pre { font: 14px/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid #8886; border-radius: 4px; }
summary { cursor: pointer; padding: .35rem 0; }
section > details { border-top: 1px solid #8886; }
b.method { display: inline-block; min-width: 4.5rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8883; }
td { overflow-wrap: anywhere; }
ul { padding-left: 1.2rem; }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'"
"""The ``Content-Security-Policy`` of the page: its own style, and nothing else."""


def page(document: dict[str, Any]) -> str:
    """HTML of a document. Its links are relative, so that they lead somewhere behind any proxy."""
    info = document["info"]
    name = f"{info['title']} {info['version']}"
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width">',
            f"<title>{_text(name)}</title><style>{STYLE}</style></head><body>",
            f"<h1>{_text(name)}</h1>{_prose(info['description'])}",
            '<p>For programs: <a href="openapi.json">openapi.json</a>. '
            'For language models: <a href="llms.txt">llms.txt</a>.</p>',
            *(_tag(document, tag) for tag in document["tags"]),
            "<h2>Objects</h2><section>",
            *_objects(document),
            "</section></body></html>\n",
        ]
    )


def _tag(document: dict[str, Any], tag: dict[str, str]) -> str:
    rows = [
        _operation(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if tag["name"] in operation["tags"]
    ]
    head = f"<h2>{_text(tag['name'].capitalize())}</h2>{_prose(tag['description'])}"
    return f"{head}<section>{''.join(rows)}</section>"


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    needs = "" if operation["security"] else "<p>Needs no key.</p>"
    return "".join(
        [
            f'<details id="{_text(operation["operationId"])}"><summary><b class="method">{method.upper()}</b> ',
            f"<code>{_text(path)}</code> {_text(operation['summary'])}</summary>",
            _prose(operation.get("description", "")),
            needs,
            *(f"<pre>{_text(one['source'])}</pre>" for one in operation["x-codeSamples"]),
            _table(
                "Parameters",
                [
                    (f"{one['name']} ({one['in']})", one["schema"], one.get("description", ""))
                    for one in operation["parameters"]
                ],
            ),
            *_bodies(operation.get("requestBody", {}).get("content", {})),
            *_answers(operation["responses"]),
            "</details>",
        ]
    )


def _bodies(content: dict[str, Any]) -> Iterator[str]:
    for name, body in content.items():
        properties = body["schema"].get("properties", {})
        yield f"<h4>Body: <code>{_text(name)}</code></h4>"
        yield _table(
            "", [(key, one, one.get("description", "")) for key, one in properties.items()]
        )
        if "example" in body:
            yield f"<pre>{_text(json.dumps(body['example'], indent=2))}</pre>"


def _answers(responses: dict[str, Any]) -> Iterator[str]:
    yield "<h4>Answers</h4>"
    for status, answer in responses.items():
        content = answer.get("content", {})
        kinds = ", ".join(f"<code>{_text(kind)}</code>" for kind in content)
        links = {_link(part["schema"]) for part in content.values() if "schema" in part}
        yield f"<p><b>{_text(status)}</b> {kinds} {' '.join(links)}</p>{_prose(answer['description'])}"
        headers = answer.get("headers", {})
        yield f"<p>Headers: {', '.join(f'<code>{_text(name)}</code>' for name in headers)}</p>"


def _objects(document: dict[str, Any]) -> Iterator[str]:
    for name, schema in sorted(document["components"]["schemas"].items()):
        properties = schema.get("properties", {})
        yield f'<details id="{_text(name)}"><summary><code>{_text(name)}</code></summary>'
        yield _prose(schema.get("description", ""))
        yield _table(
            "", [(key, one, one.get("description", "")) for key, one in properties.items()]
        )
        yield "</details>"


def _table(title: str, rows: list[tuple[str, dict[str, Any], str]]) -> str:
    if not rows:
        return ""
    cells = "".join(
        f"<tr><td><code>{_text(name)}</code></td><td>{_kind(schema)}</td><td>{_inline(text)}</td></tr>"
        for name, schema, text in rows
    )
    return f"{f'<h4>{title}</h4>' if title else ''}<table>{cells}</table>"


def _kind(schema: dict[str, Any]) -> str:
    """A type in a few words."""
    if "$ref" in schema:
        return _link(schema)
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return ", ".join(f"<code>{_text(json.dumps(value))}</code>" for value in values)
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    bounds = [str(schema[name]) for name in ("minimum", "maximum") if name in schema]
    kind = _text(str(schema.get("type", "anything")))
    return f"{kind} {_text(' to '.join(bounds))}" if bounds else kind


def _link(schema: dict[str, Any]) -> str:
    name = _text(str(schema.get("$ref", "")).rpartition("/")[2])
    return f'<a href="#{name}">{name}</a>' if name else ""


def _prose(text: str) -> str:
    """Markdown as far as the document has it: paragraphs, lists, code."""
    made = []
    for block in filter(None, text.split("\n\n")):
        lines = block.split("\n")
        if all(line.startswith("- ") for line in lines):
            items = "".join(f"<li>{_inline(line[2:])}</li>" for line in lines)
            made.append(f"<ul>{items}</ul>")
        else:
            made.append(f"<p>{_inline(block)}</p>")
    return "".join(made)


def _inline(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _text(text))


def _text(text: str) -> str:
    return html.escape(text)
