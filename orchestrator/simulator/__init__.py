"""The life of requests under a virtual clock.

The objects of `orchestrator.lifecycle` as they are, with simulated callers, replicas
and GPUs around them.
"""
