"""The page at /docs: every operation, its fields, a way to try it. It loads nothing else."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from vermilion.version import __version__
from vermilion.wire.openapi import document

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem }
summary { cursor: pointer; padding: .3rem 0 } code, pre, textarea { font-family: monospace }
h2 { border-bottom: 1px solid #ccc; text-transform: capitalize } table { border-collapse: collapse }
td, th { border: 1px solid #ddd; padding: .2rem .6rem; text-align: left } .m { color: #a3290f }
textarea { width: 100%; height: 5rem } input { width: 22rem } pre { background: #f6f4f2;
padding: .6rem; overflow: auto; max-height: 20rem }
"""

_SCRIPT = """
for (const form of document.forms) form.addEventListener("submit", async event => {
  event.preventDefault();
  let path = form.dataset.path;
  for (const input of form.querySelectorAll("input[name]"))
    path = path.replace("{" + input.name + "}", encodeURIComponent(input.value));
  const body = form.querySelector("textarea"), out = form.querySelector("pre");
  const token = document.getElementById("token").value;
  const headers = {"content-type": "application/json"};
  if (token) headers.authorization = "Bearer " + token;
  const request = {method: form.dataset.method, headers, body: body && body.value};
  const answer = await fetch(path, request);
  const text = await answer.text();
  try { out.textContent = answer.status + "\\n" + JSON.stringify(JSON.parse(text), null, 2) }
  catch { out.textContent = answer.status + "\\n" + text }
});
"""


def page() -> str:
    """The page as HTML."""
    paths = document()["paths"]
    sections: dict[str, list[str]] = {}
    for path, methods in paths.items():
        for method, one in methods.items():
            sections.setdefault(one["tags"][0], []).append(_operation(path, method.upper(), one))
    body = "".join(f"<h2>{tag}</h2>{''.join(ones)}" for tag, ones in sections.items())
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>Vermilion: HTTP API</title>"
        f"<style>{_STYLE}</style><h1>Vermilion {escape(__version__)}</h1>"
        "<p>Chroma’s HTTP API v2. The same for programs: <a href=/openapi.json>/openapi.json</a>. "
        "Token: <input id=token type=password autocomplete=off></p>"
        f"{body}<script>{_SCRIPT}</script></html>"
    )


def _operation(path: str, method: str, one: dict[str, Any]) -> str:
    inputs = "".join(
        f"<p><label>{escape(p['name'])} <input name='{escape(p['name'])}'></label></p>"
        for p in one["parameters"]
        if p["in"] == "path"
    )
    schema = _schema(one)
    fields = "".join(
        f"<tr><td><code>{escape(name)}</code><td>{escape(field.get('description', ''))}</tr>"
        for name, field in schema.get("properties", {}).items()
    )
    table = f"<table><tr><th>field<th>what it is</tr>{fields}</table>" if fields else ""
    required = dict.fromkeys(schema.get("required", []))
    body = f"<textarea>{escape(json.dumps(required))}</textarea>" if schema else ""
    return (
        f"<details><summary><code class=m>{method}</code> <code>{escape(path)}</code> "
        f"{escape(one['summary'])}</summary>"
        f"<form data-method={method} data-path='{escape(path)}'>{inputs}{table}{body}"
        "<p><button>Send</button></p><pre></pre></form></details>"
    )


def _schema(one: dict[str, Any]) -> dict[str, Any]:
    body = one.get("requestBody")
    found: dict[str, Any] = {} if body is None else body["content"]["application/json"]["schema"]
    return found
