import json
import subprocess
import sys
from typing import Any

from pydantic import BaseModel

from orchestrator.config import Config, json_schema
from orchestrator.config.section import PATTERN_RULES


def sections(section: type[BaseModel] = Config) -> set[type[BaseModel]]:
    """Every section class below `section`, found by its JSON Schema names."""
    found = {section}
    todo = [section]
    while todo:
        for info in todo.pop().model_fields.values():
            new = {cls for cls in classes(info.annotation) if cls not in found}
            found |= new
            todo += new
    return found


def classes(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {cls for arg in getattr(annotation, "__args__", ()) for cls in classes(arg)}


def test_every_field_has_a_description():
    missing = [
        f"{section.__name__}.{name}"
        for section in sections()
        for name, info in section.model_fields.items()
        if not info.description
    ]
    assert missing == []
    assert len(sections()) >= 15


def test_every_section_refuses_unknown_fields():
    assert all(section.model_config["extra"] == "forbid" for section in sections())


def test_json_schema_says_what_editors_need():
    schema = json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert schema["required"] == ["cluster", "models"]
    assert schema["additionalProperties"] is False
    runner = schema["$defs"]["PythonRunner"]["properties"]
    assert "class" in runner
    window = schema["$defs"]["Autoscaling"]["properties"]["autoscaling_window"]
    assert (window["minimum"], window["maximum"], window["default"]) == (1, 3600, 60)


def test_every_pattern_of_the_schema_is_explained_in_words():
    text = json.dumps(json_schema())
    for pattern in PATTERN_RULES:
        assert json.dumps(pattern)[1:-1] in text


def test_importing_the_config_does_not_import_ray():
    code = "import sys, orchestrator.config; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
