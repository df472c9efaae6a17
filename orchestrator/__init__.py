"""A self-hosted orchestrator for the life of an inference request."""
