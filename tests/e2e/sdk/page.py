"""A web page that has the official JavaScript SDK in it, as it came from the registry: no bundler, an import map.

The SDK's build for browsers is one module that imports one package, which is older than modules; that gets its own
`require`, and is otherwise unchanged too.
"""

import json
from pathlib import Path

from tests.support import JS

PATH = "/sdk.html"
_MODULES = {"@google/genai": "/sdk/genai.mjs", "p-retry": "/sdk/p-retry.mjs"}
_COMMON_JS = {
    "p-retry": "p-retry/index.js",
    "retry": "retry/index.js",
    "./lib/retry": "retry/lib/retry.js",
    "./retry_operation": "retry/lib/retry_operation.js",
}


def asset(path: str) -> tuple[str, bytes] | None:
    """Content type and body of what stands at a path, if it is one of the page's."""
    packages = JS / "node_modules"
    if path == PATH:
        imports = json.dumps({"imports": _MODULES})
        return "text/html", f'<!doctype html><title>SDK</title><script type="importmap">{imports}</script>'.encode()
    if path == _MODULES["@google/genai"]:
        return "text/javascript", (packages / "@google" / "genai" / "dist" / "web" / "index.mjs").read_bytes()
    if path == _MODULES["p-retry"]:
        return "text/javascript", _as_module(packages).encode()
    return None


def _as_module(packages: Path) -> str:
    bodies = {name: (packages / file).read_text("utf-8") for name, file in _COMMON_JS.items()}
    functions = ",\n".join(
        f"{json.dumps(name)}(module, exports, require) {{\n{body}\n}}" for name, body in bodies.items()
    )
    return f"""
const made = {{}};
const files = {{ {functions} }};
function require(name) {{
  if (!made[name]) {{
    made[name] = {{ exports: {{}} }};
    files[name](made[name], made[name].exports, require);
  }}
  return made[name].exports;
}}
export default require("p-retry");
"""
