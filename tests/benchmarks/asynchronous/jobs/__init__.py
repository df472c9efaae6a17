"""The no-op job on each peer, and the client that enqueues it.

These modules run in the peers' own environments: they import the standard library, the peer,
and each other, and nothing else of this project.
"""
