"""What runs on a GPU: runners, the server around a Python model, example models.

A model needs nothing of this package to be served; it may raise `InvalidInput`
to refuse what a caller sent, and ask `replicas.context` for whom it is working.
"""

from replicas.errors import InvalidInput

__all__ = ["InvalidInput"]
