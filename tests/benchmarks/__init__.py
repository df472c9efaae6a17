"""Comparison of ``predict`` with other model servers, with service levels that can fail.

Run it with ``python -m tests.benchmarks`` (``make bench``). The way through the folder:
``peers/`` one class per system under test, ``servers/`` what those systems serve,
``suite.py`` the order of the runs, ``wrk.py`` the load, ``summary.py`` medians and ratios,
``service_levels.py`` what has to hold, ``report.py`` and ``plot.py`` what is shown.
"""
