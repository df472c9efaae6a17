"""The YAML file that declares a cluster: its schema, loading it, compiling it.

`load` reads and checks a file; `compile_serve` turns it into Ray Serve's own
config; `json_schema` describes the file to editors.
"""

from orchestrator.config.compiling import compile_serve, environment_settings, replica_spec
from orchestrator.config.loading import load, load_text
from orchestrator.config.problems import ConfigError, Problem
from orchestrator.config.routing import application_name, routing_table
from orchestrator.config.schema import Config, json_schema

__all__ = [
    "Config",
    "ConfigError",
    "Problem",
    "application_name",
    "compile_serve",
    "environment_settings",
    "json_schema",
    "load",
    "load_text",
    "replica_spec",
    "routing_table",
]
