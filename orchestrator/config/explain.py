"""Turns what pydantic found into problems that say what would be right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Final, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from orchestrator.config.problems import Broken, Path, Problem, kind, listed, shown, suggestion
from orchestrator.config.section import PATTERN_RULES

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from orchestrator.config.document import Document

_KEY = "[key]"
"""pydantic's mark that an error is about a mapping's key, not its value."""

_EXPLAINED: Final = "explained"
"""Our own mark of an error that says itself what would be right."""


def problems_of(
    error: ValidationError, document: Document, root: type[BaseModel]
) -> Iterator[Problem]:
    """One problem for each error of validating `document.data` as `root`."""
    for broken in explained(error, root):
        yield document.problem(*broken)


def explained(error: ValidationError, root: type[BaseModel]) -> Iterator[Broken]:
    """For each error of validating something as `root`: where, what would be right, and what was."""
    for details in error.errors(include_url=False):
        finding = _Finding(details, root)
        yield finding.path, _rule(finding), _got(finding)


def as_error(broken: Iterable[Broken], title: str) -> ValidationError:
    """The opposite of `explained`, for a validator to raise about what is inside of its value."""
    return ValidationError.from_exception_data(title, [_details(*each) for each in broken])


def _details(path: Path, rule: str, got: str | None) -> InitErrorDetails:
    context = {"rule": _encodable(rule), "got": None if got is None else _encodable(got)}
    error = PydanticCustomError(_EXPLAINED, "{rule}", context)
    return InitErrorDetails(type=error, loc=path, input=None)


def _encodable(text: str) -> str:
    """Without halves of surrogate pairs, which YAML's escapes can make and no message can hold."""
    return text.encode(errors="backslashreplace").decode()


def fields(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """The fields of a section by the names that they have in the file."""
    return {info.alias or name: info for name, info in section.model_fields.items()}


class _Finding:
    """One of pydantic's errors with its path in the file and what the schema says there."""

    def __init__(self, details: ErrorDetails, root: type[BaseModel]) -> None:
        self.type = details["type"]
        self.input = details["input"]
        self.details = details
        self.about_key = details["loc"][-1:] == (_KEY,)
        self.path: Path = ()
        self.annotation: Any = root
        self.field: FieldInfo | None = None
        self.section: type[BaseModel] = root
        for part in details["loc"]:
            if part != _KEY:
                self._enter(part)

    def _enter(self, part: str | int) -> None:
        """Goes on to `part`, which is a key, an index, or the tag of a union."""
        annotation = _plain(self.annotation)
        if get_origin(annotation) in {Union, UnionType}:
            # The loc of a tagged union has the tag, which is no key of the file.
            self.annotation = next((m for m in _members(annotation) if part in _tags(m)), None)
            return
        self.path = (*self.path, part)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            self.section = annotation
            self.field = fields(annotation).get(str(part))
            self.annotation = self.field.annotation if self.field else None
        elif get_origin(annotation) in {dict, list}:
            self.annotation = get_args(annotation)[-1]
        else:
            self.annotation = None


def _plain(annotation: Any) -> Any:
    """`annotation` without `Annotated[...]` and `| None`."""
    while True:
        args = [arg for arg in get_args(annotation) if arg is not NoneType]
        origin = get_origin(annotation)
        if origin is Annotated or (origin in {Union, UnionType} and len(args) == 1):
            annotation = args[0]
        else:
            return annotation


def _members(annotation: Any) -> list[type]:
    """The sections that a union is made of."""
    return [member for member in get_args(_plain(annotation)) if isinstance(member, type)]


def _tags(section: type) -> tuple[Any, ...]:
    """Values of `type` that choose `section` in a union."""
    if not issubclass(section, BaseModel) or "type" not in section.model_fields:
        return ()
    return get_args(section.model_fields["type"].annotation)


def _got(finding: _Finding) -> str | None:
    """The value for the message; only its kind where it may be a secret."""
    value = finding.input
    if finding.type == _EXPLAINED:
        got: str | None = finding.details["ctx"]["got"]
        return got
    if finding.type == "union_tag_invalid" and isinstance(value, Mapping):
        return shown(value.get("type"))
    if finding.type in {"missing", "union_tag_not_found"}:
        return None
    hide = _may_be_secret(finding.path) and not finding.about_key
    return kind(value) if hide else shown(value)


def _may_be_secret(path: Path) -> bool:
    if path in {
        ("store",),
        ("cluster", "gcs_store"),
        ("results", "url"),
    }:  # a password may stand in a URL
        return True
    if path[:2] == ("auth", "keys"):
        return path[3:4] not in {("scopes",), ("models",), ("environments",)}
    return "environment_variables" in path


def _rule(finding: _Finding) -> str:
    """What would be right."""
    make = _RULES.get(finding.type)
    if isinstance(make, str):
        return make
    return make(finding) if make is not None else _sentence(finding.details["msg"])


def _sentence(message: str) -> str:
    return message[:1].lower() + message[1:]


def _range(finding: _Finding) -> str:
    """The range of a number, such as `must be at least 1 and at most 3600`."""
    low = high = ""
    of_field = finding.field.metadata if finding.field else ()
    for mark in (*of_field, *_metadata(finding.annotation)):
        if isinstance(mark, annotated_types.Ge):
            low = f"at least {mark.ge}"
        elif isinstance(mark, annotated_types.Gt):
            low = f"more than {mark.gt}"
        elif isinstance(mark, annotated_types.Le):
            high = f"at most {mark.le}"
        elif isinstance(mark, annotated_types.Lt):
            high = f"less than {mark.lt}"
    return f"must be {' and '.join(filter(None, (low, high)))}"


def _metadata(annotation: Any) -> tuple[Any, ...]:
    """What `Annotated[...]` says, also within `... | None`."""
    members = get_args(annotation) if get_origin(annotation) in {Union, UnionType} else ()
    of_members = (mark for member in members for mark in _metadata(member))
    return (*getattr(annotation, "__metadata__", ()), *of_members)


def _missing(finding: _Finding) -> str:
    description = (finding.field.description if finding.field else None) or ""
    return f"is required but missing: {_sentence(description)}".rstrip(".: ")


def _unknown(finding: _Finding) -> str:
    known = fields(finding.section)
    close = suggestion(str(finding.path[-1]), known)
    return f"unknown field{close} (known here: {', '.join(known) or 'none'})"


def _choice(finding: _Finding) -> str:
    choices = [str(choice) for choice in get_args(_plain(finding.annotation))]
    return f"must be one of {listed(choices)}{suggestion(str(finding.input), choices)}"


def _tag(finding: _Finding) -> str:
    tags = [str(tag) for member in _members(finding.annotation) for tag in _tags(member)]
    return f"needs a type that is one of {listed(tags)}"


def _text(finding: _Finding) -> str:
    scalar = isinstance(finding.input, bool | int | float)
    return "must be text" + (" (put it in quotes)" if scalar else "")


def _own(finding: _Finding) -> str:
    """The rule of a validator of ours."""
    return str(finding.details["ctx"]["error"])


def _pattern(finding: _Finding) -> str:
    return PATTERN_RULES[finding.details["ctx"]["pattern"]]


_MAPPING: Final = 'must be a mapping ("key: value" lines)'

_RULES: Final[dict[str, str | Callable[[_Finding], str]]] = {
    _EXPLAINED: lambda finding: str(finding.details["ctx"]["rule"]),
    "missing": _missing,
    "extra_forbidden": _unknown,
    "literal_error": _choice,
    "union_tag_invalid": _tag,
    "union_tag_not_found": _tag,
    "greater_than": _range,
    "greater_than_equal": _range,
    "less_than": _range,
    "less_than_equal": _range,
    "string_type": _text,
    "string_pattern_mismatch": _pattern,
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "too_long": lambda finding: f"must have at most {finding.details['ctx']['max_length']} items",
    "value_error": _own,
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "list_type": 'must be a list ("- item" lines, or [a, b])',
    "dict_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
}
"""How to say each of pydantic's error types that this schema can give."""
