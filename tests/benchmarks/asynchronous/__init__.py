"""Comparison of durable asynchronous requests with job queues on the same store.

``python -m tests.benchmarks --only async`` runs it. Every system enqueues no-op jobs, runs them
and gives their results back; each gets a private server that syncs its append-only file before
it answers, over a unix socket. The way through the folder: ``systems/`` one class per system
under test, ``jobs/`` what the peers' own processes run, ``metrics.py`` what is measured,
``suite.py`` the order of the runs, ``async_load.lua`` and ``http_load.py`` the load on ours,
``summary.py`` medians and ratios, ``service_levels.py`` what has to hold, ``report.py`` what is
shown.
"""
