"""What all sections of the config have in common: strictness, names, units.

Types are strict (`"8000"` is not a number), unknown fields are refused, and a
section cannot change after it was loaded. One megabyte is 1,000,000 bytes, one
gigabyte 1,000,000,000; one kilobyte, where limits of the API count in it, 1,024.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, StringConstraints

KILOBYTE: Final = 1024
MEGABYTE: Final = 1_000_000
GIGABYTE: Final = 1_000_000_000

NAME_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$"
KEY_PREFIX_PATTERN: Final = r"^[A-Za-z0-9_-]{1,40}$"
VARIABLE_NAME_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"
REFERENCE_PATTERN: Final = r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$"
CLASS_PATTERN: Final = r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$"
URL_PATH_PATTERN: Final = r"^/[^\s?#]*$"
HOST_PATTERN: Final = r"^[A-Za-z0-9.:_-]+$"

# What Ray accepts as labels of nodes and as selectors of them (Kubernetes' syntax).
_LABEL: Final = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
LABEL_KEY_PATTERN: Final = rf"^({_LABEL}(\.{_LABEL})*/)?{_LABEL}$"
LABEL_SELECTOR_PATTERN: Final = rf"^(!?{_LABEL}|!?in\({_LABEL}(, ?{_LABEL})*\)|)$"
RESOURCE_NAME_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_.:/-]{0,99}$"

PATTERN_RULES: Final[dict[str, str]] = {
    NAME_PATTERN: (
        "must be 1 to 40 lower-case letters, digits and hyphens, "
        "with a letter or a digit at both ends"
    ),
    KEY_PREFIX_PATTERN: "must be 1 to 40 letters, digits, hyphens and underscores",
    VARIABLE_NAME_PATTERN: (
        "must be the name of an environment variable: letters, digits and underscores, "
        "not beginning with a digit"
    ),
    REFERENCE_PATTERN: (
        "must be ${NAME}, the name of an environment variable that holds the secret, "
        "so that the secret itself is not in the file"
    ),
    CLASS_PATTERN: (
        'must be "module:Class", as in "replicas.examples.echo:Echo", '
        "with the module as Python imports it"
    ),
    URL_PATH_PATTERN: 'must be a URL path that begins with "/"',
    HOST_PATTERN: "must be an IP address or a host name",
    LABEL_KEY_PATTERN: (
        "must be the name of a node's label: 1 to 63 letters, digits, hyphens, underscores and "
        'dots, with a letter or a digit at both ends; before it may stand a domain and "/", as in '
        '"ray.io/accelerator-type"'
    ),
    LABEL_SELECTOR_PATTERN: (
        'must be a value of the label, as in "spot"; "!spot" for any other; "in(a, b)" for one '
        'of several; or "!in(a, b)" for none of them'
    ),
    RESOURCE_NAME_PATTERN: (
        "must be the name of a resource that nodes are started with: up to 100 letters, digits "
        'and "_.:/-", beginning with a letter or an underscore'
    ),
}
"""What each pattern asks for, in words, for error messages."""

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
KeyPrefix = Annotated[str, StringConstraints(pattern=KEY_PREFIX_PATTERN)]
VariableName = Annotated[str, StringConstraints(pattern=VARIABLE_NAME_PATTERN)]
SecretReference = Annotated[str, StringConstraints(pattern=REFERENCE_PATTERN)]
ClassPath = Annotated[str, StringConstraints(pattern=CLASS_PATTERN)]
UrlPath = Annotated[str, StringConstraints(pattern=URL_PATH_PATTERN)]
Host = Annotated[str, StringConstraints(pattern=HOST_PATTERN)]
LabelKey = Annotated[str, StringConstraints(pattern=LABEL_KEY_PATTERN)]
LabelSelector = Annotated[str, StringConstraints(pattern=LABEL_SELECTOR_PATTERN)]
ResourceName = Annotated[str, StringConstraints(pattern=RESOURCE_NAME_PATTERN)]
NonEmpty = Annotated[str, StringConstraints(min_length=1)]


class Section(BaseModel):
    """Base of every section of the config file."""

    # Defaults are validated so that a default and the same number written out
    # compile to the same JSON (600.0, not 600): Serve compares the text.
    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, validate_default=True
    )
