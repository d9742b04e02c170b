"""YAML as a tree whose every key knows where it was written.

YAML's own guesses about types are not used (it reads `no` as false and `1e-4` as text): every
plain scalar but null stays text until the schema in `config.py` says what it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from seq2seq_cli.errors import ConfigError

MAX_DEPTH = 20
MAX_VALUES = 10_000  # after aliases are expanded: an alias bomb stops here
_TOO_MANY = "too many values (do aliases multiply them?)"

KeyPath = tuple[str, ...]

# Keys that name a file, or one for each of source and target.
_FILE_KEYS: tuple[KeyPath, ...] = (
    ("data", "train"),
    ("data", "valid"),
    ("data", "test"),
    ("model", "pretrained"),
)


class Document:
    """Values as a tree, and for each key path the place it came from."""

    def __init__(self, origin: str) -> None:
        self.tree: Any = {}
        self.places: dict[KeyPath, str] = {(): origin}
        self.mistakes: list[str] = []

    def put(self, path: KeyPath, value: Any, folder: Path, origin: str = "") -> None:
        """Set `value` at `path`, replacing what was there; its paths are taken from `folder`.

        origin: where an override comes from.
        """
        if not path:
            self.tree = value
        else:
            node = self.tree
            for depth in range(1, len(path)):
                inner = node.get(path[depth - 1])
                if inner is None:
                    inner = node[path[depth - 1]] = {}
                    self.places[path[:depth]] = origin
                if not isinstance(inner, dict):
                    raise ConfigError(
                        f"{origin}: {dotted(path[:depth])} is a value, it has no keys inside"
                    )
                node = inner
            node[path[-1]] = value
            for known in [place for place in self.places if place[: len(path)] == path]:
                del self.places[known]
            self.places[path] = origin
        for holder in _FILE_KEYS:
            if path in [(), holder[:1], holder, (*holder, "source"), (*holder, "target")]:
                self._take_paths_from(folder, holder, path)

    def _take_paths_from(self, folder: Path, holder: KeyPath, changed: KeyPath) -> None:
        top, key = holder
        section = self.tree.get(top) if isinstance(self.tree, dict) else None
        if not isinstance(section, dict) or not section.get(key):
            return
        if isinstance(section[key], dict):
            files = section[key]
            for side in changed[2:] or ("source", "target"):
                if side in files:
                    files[side] = _from_folder(folder, files[side])
        elif section[key] != "none":
            section[key] = _from_folder(folder, section[key])

    def written(self, path: KeyPath) -> KeyPath:
        """The path up to a value that stands for all of a mapping (`dropout: 0.2`)."""
        node = self.tree
        for depth, key in enumerate(path):
            if isinstance(node, str):
                return path[:depth]
            node = node.get(key) if isinstance(node, dict) else None
        return path

    def place(self, path: KeyPath) -> str:
        """Where the key, or the nearest mapping around it, was written."""
        while path not in self.places:
            path = path[:-1]
        return self.places[path]


def _from_folder(folder: Path, file: Any) -> Any:
    """A path as if written in `folder`, or each one of a list; what is no path stays as it is."""
    if isinstance(file, list):
        return [_from_folder(folder, one) for one in file]
    if not isinstance(file, str) or not file:
        return file
    try:
        return str(folder / Path(file).expanduser())
    except (RuntimeError, ValueError):  # ~somebody whom the system does not know: a name with ~
        return str(folder / file)


class _Composer(yaml.SafeLoader):
    """Makes nodes, few and flat ones: it stops at the first that is too deep or one too many, as
    what follows it may take any time."""

    def __init__(self, text: str, origin: str) -> None:
        super().__init__(text)
        self._origin = origin
        self._depth = self._num_nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        place = f"{self._origin}:{event.start_mark.line + 1}"
        if self._depth == MAX_DEPTH and isinstance(event, yaml.CollectionStartEvent):
            raise ConfigError(f"{place}: nested deeper than {MAX_DEPTH} levels")
        if self._num_nodes > 2 * MAX_VALUES:  # keys are nodes too
            raise ConfigError(f"{place}: {_TOO_MANY}")
        self._depth, self._num_nodes = self._depth + 1, self._num_nodes + 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def parse(text: str, path: KeyPath, origin: str, document: Document) -> Any:
    """YAML text to mappings, lists, strings and None; fills in the document's places.

    path: where in the config the text stands.
    """
    try:
        root = _Composer(text, origin).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = error.problem or error.context or "cannot be read"
        raise ConfigError(f"{origin}:{line}: not valid YAML: {problem}") from error
    except yaml.YAMLError as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{origin}: not valid YAML: {problem}") from error
    except (ValueError, OverflowError) as error:  # PyYAML on "\U99999999"
        raise ConfigError(f"{origin}: not valid YAML: there is no such character") from error
    return _build(root, path, origin, document) if root is not None else None


def _build(root: yaml.Node, root_path: KeyPath, origin: str, document: Document) -> Any:
    count = 0

    def build(node: yaml.Node, path: KeyPath) -> Any:
        nonlocal count
        count += 1
        line = node.start_mark.line + 1
        if count > MAX_VALUES or len(path) > MAX_DEPTH + len(root_path):
            raise ConfigError(f"{origin}:{line}: {_TOO_MANY}")
        if isinstance(node, yaml.ScalarNode):
            is_null = node.tag == "tag:yaml.org,2002:null" and node.style is None
            return None if is_null else node.value
        if isinstance(node, yaml.SequenceNode):
            items = []
            for index, item in enumerate(node.value):
                document.places[(*path, str(index))] = f"{origin}:{item.start_mark.line + 1}"
                items.append(build(item, (*path, str(index))))
            return items
        values: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key_line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError(f"{origin}:{key_line}: a key must be plain text")
            key = key_node.value
            inner = (*path, key)
            if key in values:
                document.mistakes.append(f"{origin}:{key_line}: {dotted(inner)}: is there twice")
            document.places[inner] = f"{origin}:{key_line}"
            values[key] = build(value_node, inner)
        return values

    return build(root, root_path)


def dotted(keys: KeyPath) -> str:
    """Keys as people write them; what would break the line of an error is escaped."""
    return ".".join(key if key.isprintable() and key else ascii(key) for key in keys)
