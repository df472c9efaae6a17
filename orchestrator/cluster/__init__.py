"""A cluster as processes: starting it from a config, changing it, ending it.

local          what the commands do: start, deploy, stop, select
records        what is written down about a cluster, so that a later command finds it
settings       the settings that its processes share, and its ports
storage        where it keeps its asynchronous requests
supervisor     the process that it lives and ends with
store_keeper   the embedded store, kept running
driver         applies a config to it, in a process of its own
processes      ending what was started, and nothing else
"""
