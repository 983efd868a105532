"""YAML as data and nothing else: no tags that make objects, no aliases that grow, no key twice, bounded in size.

`yaml.safe_load` makes no objects either, but follows aliases wherever they lead: a few lines can stand for billions of
nodes, or hold themselves. And of a key that stands twice it quietly takes the second.
"""

from typing import Any

import yaml

MAX_CHARACTERS = 1024 * 1024
MAX_NODES = 50_000
"""With every alias written out."""


class YamlError(Exception):
    """The text can't be read; the words say where and why, and quote nothing of it but names of tags."""


def load(text: str) -> Any:
    """The one document in a text. Raises YamlError."""
    if len(text) > MAX_CHARACTERS:
        raise YamlError(f"is larger than {MAX_CHARACTERS} characters")
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise YamlError(f"line {line}: not valid YAML: {error.problem}") from None
    except RecursionError:
        raise YamlError("nests too deeply") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError):
        # PyYAML trips over texts that a tag calls a number, a date or a truth value.
        raise YamlError("not valid YAML") from None


class _Loader(yaml.SafeLoader):
    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._nodes = 0
        self._weights: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Count the nodes, an alias as all that it stands for; one inside what it stands for has no weight yet."""
        begun, mark = self._nodes, self.get_mark()
        is_alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        if is_alias and id(node) not in self._weights:
            raise yaml.MarkedYAMLError(problem="an alias stands for itself", problem_mark=mark)
        self._nodes += self._weights[id(node)] if is_alias else 1
        if self._nodes > MAX_NODES:
            raise yaml.MarkedYAMLError(problem=f"has more than {MAX_NODES} values", problem_mark=mark)
        if not is_alias:
            self._weights[id(node)] = self._nodes - begun
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Refuse a key that stands twice; what `<<` brings in may be replaced."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    raise yaml.MarkedYAMLError(problem="a key stands here twice", problem_mark=key.start_mark)
                seen.add((key.tag, key.value))
        return node
