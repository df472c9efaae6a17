"""A trace replayed against a running cluster, open loop.

The way through: `targets` (what an experiment asks of the cluster), `planned` (what is
to be sent when), `pacing` (sends each at its time), `call` and `later` (one request to its
end), `levels` (what the cluster was like meanwhile), `running` (all of it, and the report).
"""
