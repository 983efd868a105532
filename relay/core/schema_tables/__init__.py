"""The Live API's client messages, written down; `schema` reads these tables and answers for them.

A message is a name, then one line per type: the type, then the fields that have it, by their JSON names.
`T[]` is a list of T, `T{}` an object from any string to T, and `#` begins a comment. Reading order:
`messages` (the envelope), `setup`, `content`, `tools`, `enums`.

It is the union of what the Gemini Developer API and Vertex AI know: what one of them refuses is a known field
all the same. From google-genai 3.4.0, google-ai-generativelanguage 0.12.1 and, for Vertex, the public
aiplatform v1beta1 API of November 2026. There is nothing here but data.
"""

from relay.core.schema_tables import content, enums, messages, setup, tools

MESSAGES = messages.TABLE + setup.TABLE + content.TABLE + tools.TABLE
ENUMS = enums.TABLE
