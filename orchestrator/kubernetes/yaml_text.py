"""YAML that readers of YAML 1.1 (Kubernetes, Ray) and 1.2 understand alike.

A text that one of them would take for something else (`no`, `1e3`, `0400`) is quoted.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from ruamel.yaml import YAML

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PLAIN: Final = re.compile(r"[A-Za-z/_](?:[A-Za-z0-9/_.@+=-]|:(?=[A-Za-z0-9/_.]))*")
_WORDS: Final = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n"})
_UNPRINTABLE: Final = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")
_NOT_IN_A_BLOCK: Final = re.compile("[^\\n\x20-\x7e\u00a0-\u2027\u202a-\ud7ff\ue000-\ufefe]")


def load_all(text: str) -> list[dict[str, Any]]:
    """The documents of a stream, as Kubernetes reads them (YAML 1.1), without empty ones.

    Raises:
        ruamel.yaml.error.YAMLError: it is no YAML.
    """
    yaml = YAML(typ="safe", pure=True)
    yaml.version = (1, 1)
    return [document for document in yaml.load_all(text) if document is not None]


def dump_all(documents: Iterable[Any]) -> str:
    """Documents as one stream, mappings in their order."""
    return "---\n".join(dump(document) for document in documents)


def dump(value: Any) -> str:
    """One document: mappings, lists, texts, numbers, true and false, null."""
    return "".join(f"{line}\n" if line else "\n" for line in _lines(value))


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _entry(f"{_scalar(str(key))}:", item)
    elif isinstance(value, list) and value:
        for item in value:
            yield from _item(item)
    else:
        yield _scalar(value)


def _entry(key: str, item: Any) -> Iterator[str]:
    if _is_block(item):
        yield f"{key} |{'' if item.endswith(chr(10)) else '-'}"
        yield from (f"  {line}" if line else "" for line in item.removesuffix("\n").split("\n"))
    elif isinstance(item, dict | list) and item:
        yield key
        yield from (f"  {line}" if line else "" for line in _lines(item))
    else:
        yield f"{key} {_scalar(item)}"


def _item(item: Any) -> Iterator[str]:
    first = True
    for line in _lines(item):
        yield f"{'- ' if first else '  '}{line}" if line else ""
        first = False


def _is_block(value: Any) -> bool:
    """Whether a text can stand as lines of its own."""
    return (
        isinstance(value, str)
        and "\n" in value.removesuffix("\n")
        and not value.endswith("\n\n")
        and not value.startswith((" ", "\n"))
        and not _NOT_IN_A_BLOCK.search(value)
    )


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
            return value
        quoted = json.dumps(value, ensure_ascii=False)
        return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
    if isinstance(value, float) and not isinstance(value, bool):
        text = repr(value)
        mantissa, e, exponent = text.partition("e")
        return f"{mantissa}.0e{exponent}" if e and "." not in mantissa else text
    return json.dumps(value)
