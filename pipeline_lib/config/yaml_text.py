"""A YAML file as it is written: every key and every scalar as its text, with its line.

YAML gives a plain word a type by its looks: `on`, `007`, `1e3`, `null`, `2026-01-01`. Here a key
is its text. A scalar keeps its text beside the value that YAML sees in it, and the setting decides
which of both counts: `as_declared` takes the text where text is declared.
"""

import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Annotated, Literal, Union, cast, get_args, get_origin

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pipeline_lib.config.settings import Settings

# A config of 10,000 columns has some 60,000 nodes in 500 kB, and no more than a dozen levels.
MAX_CHARACTERS = 1_000_000
_MAX_NODES = 200_000
_MAX_DEPTH = 40
_MAX_NUMBER = 64  # characters: a longer number would be no setting's, and costs more than its text
_TAG = "tag:yaml.org,2002:"
_KNOWN_TAGS = ("str", "int", "float", "bool", "null", "timestamp", "merge", "value", "map", "seq")
_TYPED_TAGS = ("int", "float", "bool", "null", "timestamp")
_TYPES = (bool, int, float, date)
_MAX_SAID = 200

Lines = Mapping[tuple[str | int, ...], int]


class Scalar(str):
    """The text of a scalar; `value` is what YAML takes it for."""

    value: object

    def __new__(cls, text: str, value: object) -> "Scalar":
        """Keep both."""
        scalar = super().__new__(cls, text)
        scalar.value = value
        return scalar


class YamlTextError(Exception):
    """What is no YAML, or none that a config could be; `line` is 0 where none can be named."""

    def __init__(self, line: int, message: str) -> None:
        self.line = line
        super().__init__(message)


@dataclass(frozen=True)
class YamlText:
    """Mappings as dict, sequences as list, all else as `Scalar`; `lines` by the path of keys.

    `errors` are what a config may not hold though it is YAML, as a key that stands twice: the tree
    is without it.
    """

    tree: object
    lines: Lines
    errors: tuple["YamlTextError", ...] = ()

    def plain(self) -> object:
        """Return the tree.

        Raises:
            YamlTextError: the first error, if there is one.
        """
        if self.errors:
            raise self.errors[0]
        return self.tree


def read_yaml_text(text: str) -> YamlText:
    """Read one document; of an empty one the tree is an empty scalar.

    Raises:
        YamlTextError: it is no YAML, or too large or too deep with its aliases written out.
    """
    yaml = YAML(typ="safe", pure=True)
    root = _composed(yaml, text)
    if root is None:
        return YamlText(Scalar("", None), {})
    builder = _Builder(yaml)
    return YamlText(builder.build(root, ()), builder.lines, tuple(builder.errors))


def refuse_bombs(text: str) -> None:
    """Refuse a document that is too large or too deep, before any loader writes out its aliases.

    Raises:
        YamlTextError: it is, or it is no YAML.
    """
    _composed(YAML(typ="safe", pure=True), text)


def _composed(yaml: YAML, text: str) -> Node | None:
    if len(text) > MAX_CHARACTERS:
        raise YamlTextError(0, f"has more than {MAX_CHARACTERS:,} characters")
    yaml.Composer = _BoundedComposer
    try:
        return cast("Node | None", yaml.compose(text))  # pyright: ignore[reportUnknownMemberType]
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        said = " ".join(str(error.problem or error.context).split())[:_MAX_SAID]
        raise YamlTextError(line, said) from None
    except (YAMLError, ValueError) as error:
        raise YamlTextError(0, " ".join(str(error).split())[:_MAX_SAID]) from None


class _BoundedComposer(Composer):
    """Composes nodes as long as they are few and not deep, with aliases written out.

    A node that an alias names is composed before the alias is, so that its size is known: nothing
    is written out to be counted.
    """

    def __init__(self, loader: object = None) -> None:
        super().__init__(loader=loader)
        self.warn_double_anchors = False  # YAML allows it, and each warning quotes the text
        self.n_nodes = 0
        self.sizes: dict[int, int] = {}
        self.heights: dict[int, int] = {}

    def compose_node(self, parent: object, index: object) -> Node:
        """Compose the next node, or refuse it."""
        event = self.parser.peek_event()
        line = int(event.start_mark.line) + 1
        self.n_nodes += 1
        if self.n_nodes > _MAX_NODES:
            raise YamlTextError(line, f"holds more than {_MAX_NODES:,} values")
        if self.depth >= _MAX_DEPTH:
            raise _too_deep(line)
        node = cast("Node", super().compose_node(parent, index))  # pyright: ignore[reportUnknownMemberType]
        if not isinstance(event, AliasEvent):
            self._measure(node, line)
        elif id(node) not in self.sizes:
            raise YamlTextError(line, "an alias stands inside its own anchor")
        return node

    def _measure(self, node: Node, line: int) -> None:
        inner: list[Node] = []
        if isinstance(node, MappingNode):
            inner = [part for pair in cast("list[tuple[Node, Node]]", node.value) for part in pair]
        elif isinstance(node, SequenceNode):
            inner = cast("list[Node]", node.value)
        size = 1 + sum(self.sizes[id(each)] for each in inner)
        height = 1 + max((self.heights[id(each)] for each in inner), default=0)
        if size > _MAX_NODES:
            raise YamlTextError(
                line, f"holds more than {_MAX_NODES:,} values, its aliases written out"
            )
        if height > _MAX_DEPTH:
            raise _too_deep(line)
        self.sizes[id(node)], self.heights[id(node)] = size, height


def _too_deep(line: int) -> YamlTextError:
    return YamlTextError(line, f"is nested too deeply: more than {_MAX_DEPTH} levels")


def as_declared(tree: object, annotation: object) -> object:
    """Return a tree in which each `Scalar` is its text or its value, as it is declared.

    Args:
        tree: of `read_yaml_text`; what is no `Scalar`, dict or list stays as it is.
        annotation: the type of a setting, or a class of settings.
    """
    choices = list(type_choices(annotation))
    if isinstance(tree, Scalar):
        return str(tree) if _is_text(choices) and tree.value is not None else tree.value
    if isinstance(tree, dict):
        mapping = cast("dict[str, object]", tree)
        fields = _field_types(mapping, choices)
        others = next((get_args(c)[1] for c in choices if get_origin(c) is dict), object)
        return {key: as_declared(v, fields.get(key, others)) for key, v in mapping.items()}
    if isinstance(tree, list):
        item = next((get_args(c)[0] for c in choices if get_origin(c) is tuple), object)
        return [as_declared(inner, item) for inner in cast("list[object]", tree)]
    return tree


def type_choices(annotation: object) -> Iterator[object]:
    """Yield the members of a union, or the one type that it is."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from type_choices(get_args(annotation)[0])
    elif origin is Union or origin is types.UnionType:
        for member in get_args(annotation):
            yield from type_choices(member)
    else:
        yield annotation


def _is_text(choices: Iterable[object]) -> bool:
    words = [c is str or get_origin(c) is Literal for c in choices]
    return any(words) and not any(c is kind for c in choices for kind in _TYPES)


def _field_types(given: Mapping[str, object], choices: Iterable[object]) -> dict[str, object]:
    """Return the declared types of the settings that are meant, by name."""
    settings = [c for c in choices if isinstance(c, type) and issubclass(c, Settings)]
    kind = given.get("kind")
    for cls in settings:
        declared = cls.model_fields.get("kind")
        of_kind = () if declared is None else get_args(declared.annotation)
        if len(settings) == 1 or kind in of_kind:
            return {name: field.annotation for name, field in cls.model_fields.items()}
    return {}


@dataclass
class _Builder:
    """Turns ruamel's nodes into a tree."""

    yaml: YAML
    lines: dict[tuple[str | int, ...], int] = field(
        default_factory=dict[tuple[str | int, ...], int]
    )
    errors: list[YamlTextError] = field(default_factory=list[YamlTextError])

    def build(self, node: Node, path: tuple[str | int, ...]) -> object:
        line = _line(node)
        tag = str(node.tag).removeprefix(_TAG)
        if tag not in _KNOWN_TAGS:
            self._refuse(line, f"the tag {str(node.tag)[:60]} has no meaning in a config")
            return Scalar("", None)
        if isinstance(node, ScalarNode):
            return Scalar(str(node.value), self._value(node, tag))
        built = self._mapping(node, path) if isinstance(node, MappingNode) else []
        if isinstance(node, SequenceNode):
            built = list[object]()
            for number, item in enumerate(cast("list[Node]", node.value)):
                self.lines[*path, number] = _line(item)
                built.append(self.build(item, (*path, number)))
        return built

    def _mapping(self, node: MappingNode, path: tuple[str | int, ...]) -> dict[str, object]:
        mapping: dict[str, object] = {}
        for key, value, line in self._entries(node):
            self.lines[*path, key] = line
            mapping[key] = self.build(value, (*path, key))
        return mapping

    def _entries(self, node: MappingNode) -> Iterator[tuple[str, Node, int]]:
        """Yield keys as written, their values and lines: its own first, then the merged ones."""
        own: dict[str, int] = {}
        merges: list[tuple[Node, int]] = []
        for key, value in cast("list[tuple[Node, Node]]", node.value):
            line = _line(key)
            if not isinstance(key, ScalarNode):
                self._refuse(line, "a key is text, not a list or a mapping")
                continue
            if str(key.tag) == f"{_TAG}merge":
                merges.append((value, line))
                continue
            text = str(key.value)
            if not text and key.style is None:
                self._refuse(line, 'a key is missing before the colon; an empty one is ""')
                continue
            if text in own:
                self._refuse(line, f"found duplicate key {text[:60]!r}, also in line {own[text]}")
                continue
            own[text] = line
            yield text, value, line
        if len(merges) > 1:
            self._refuse(merges[1][1], 'found duplicate key "<<"; merge a list of aliases')
        for merged, line in merges:
            yield from self._merged(merged, line, set(own))

    def _merged(self, node: Node, line: int, taken: set[str]) -> Iterator[tuple[str, Node, int]]:
        sources = cast("list[Node]", node.value) if isinstance(node, SequenceNode) else [node]
        for source in sources:
            if not isinstance(source, MappingNode):
                self._refuse(line, "`<<` merges mappings only; put the key in quotes")
                continue
            for key, value, _ in self._entries(source):
                if key not in taken:
                    taken.add(key)
                    yield key, value, line

    def _refuse(self, line: int, message: str) -> None:
        """Note an error; a mapping that is merged in several places has it once."""
        if all((line, message) != (e.line, str(e)) for e in self.errors):
            self.errors.append(YamlTextError(line, message))

    def _value(self, node: ScalarNode, tag: str) -> object:
        """Return what YAML sees in a scalar; its text where it is no such value after all."""
        if tag not in _TYPED_TAGS or len(node.value) > _MAX_NUMBER:
            return str(node.value)
        try:
            return cast(
                "object",
                self.yaml.constructor.construct_object(node),  # pyright: ignore[reportUnknownMemberType]
            )
        except (ValueError, YAMLError):
            return str(node.value)


def _line(node: Node) -> int:
    return int(node.start_mark.line) + 1  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
