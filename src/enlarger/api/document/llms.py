"""The document in short, as plain text for language models: https://llmstxt.org."""

from __future__ import annotations

from typing import Any

from enlarger.api.document.openapi import EXAMPLE_URL
from enlarger.api.document.schemas import Document

_HEAD = """\
# enlarger {version}

> A self-hosted service that enlarges pictures with Real-ESRGAN models: bytes, a form, JSON or a URL in; the picture or JSON out.

Base URL: {base_url}. Where the operator set keys, send
`Authorization: Bearer <key>` or `X-API-Key: <key>`. Links in answers that begin with `/` belong to the base URL.
Errors of /v1 are application/problem+json; programs match `code`, and `retryable` says whether to try again, after `Retry-After` seconds.
A request that lasts becomes a job: be ready for a 202 with `Location`.

## Examples

Bytes in, bytes out:

    curl -o cat-4x.png --data-binary @cat.jpg "{url}/v1/upscale?scale=4"

A file with options, as WebP:

    curl -o cat.webp -F image=@cat.jpg -F long_side=1600 -F format=webp {url}/v1/upscale

A URL, and JSON as the answer:

    curl {url}/v1/upscale -H 'Content-Type: application/json' -H 'Accept: application/json' -d '{{"img_url": "https://example.com/cat.jpg", "scale": 4}}'

A job, and how it goes:

    curl --data-binary @cat.jpg "{url}/v1/jobs?scale=4"
    curl "{url}/v1/jobs/job_...?wait=30"

What it would take, without doing it:

    curl {url}/v1/estimate -H 'Content-Type: application/json' -d '{{"input": {{"width": 1600, "height": 1200}}, "scale": 4}}'

## Options

{options}

## Routes

{routes}

## Documentation

- [OpenAPI 3.1]({links}/openapi.json): every route, field, header and error
- [The same as a page]({links}/docs)
- `docs/reference/` in the source: http-api.md, pictures.md, errors.md, dialects.md, settings.md
"""


def llms_text(document: Document) -> str:
    """Return a document as plain text."""
    body = document["paths"]["/v1/upscale"]["post"]["requestBody"]["content"]["application/json"]
    options = [
        f"- `{name}`: {_kind(schema)}. {' '.join(schema.get('description', '').split())}".rstrip()
        for name, schema in body["schema"]["properties"].items()
    ]
    routes = [
        f"- {method.upper()} {path}: {operation['summary']}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    public_url = next((server["url"] for server in document.get("servers", ())), None)
    return _HEAD.format(
        base_url=public_url
        or f"the one that you have this text from; {EXAMPLE_URL} in the examples",
        url=public_url or EXAMPLE_URL,
        links=public_url or "",
        version=document["info"]["version"],
        options="\n".join(options),
        routes="\n".join(routes),
    )


def _kind(schema: dict[str, Any]) -> str:
    """A type in a few words."""
    if "anyOf" in schema:
        kinds = (one for one in schema["anyOf"] if one != {"type": "null"})
        return " or ".join(map(_kind, kinds))
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    bounds = [str(schema[name]) for name in ("minimum", "maximum") if name in schema]
    return " ".join(
        [str(schema.get("type", "anything")), *(["from", " to ".join(bounds)] if bounds else [])]
    )
