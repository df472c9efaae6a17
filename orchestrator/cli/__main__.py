"""`python -m orchestrator.cli`: the `orchestrator` command of this interpreter."""

from orchestrator.cli import app

app()
