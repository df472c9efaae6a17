"""Comparison with other model servers and job queues, with service levels that can fail.

Run it with ``python -m tests.benchmarks`` (``make bench``). The way through the folder, for
``predict`` beside other model servers: ``peers/`` one class per system under test, ``servers/``
what those systems serve, ``suite.py`` the order of the runs, ``wrk.py`` the load, ``summary.py``
medians and ratios, ``service_levels.py`` what has to hold, ``report.py`` and ``plot.py`` what is
shown. ``asynchronous/`` has the same for asynchronous requests beside job queues.
"""
