"""A cluster as processes: starting it from a config, changing it, ending it.

local            what the commands do: start, deploy, stop, select
joining          a further machine as a node of a cluster, with the file for that (ticket)
cluster_plan     what a config asks of a cluster that is started here
records          what is written down about a cluster, so that a later command finds it
settings         the settings that its processes share, and its ports; haproxy.sh
storage          where it keeps its asynchronous requests
starting         a supervisor's start, up to its word that it is ready
keeping          what both kinds of supervisor do with what they started
supervisor       the process that a cluster, its first node, lives and ends with
node_supervisor  the same for a node that joined
store_keeper     the embedded store, kept running
gcs_keeper       Ray's control service, kept running where its tables outlive it (gcs_store)
remote           a Ray cluster that somebody else started (member, dashboard, preflight, ...)
drain            taking a node out of use (membership, ray_nodes)
driver           what is done inside a Ray cluster, in a process of its own
processes        ending what was started, and nothing else
"""
