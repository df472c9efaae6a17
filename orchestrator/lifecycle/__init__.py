"""The decisions, without I/O: no Ray, Redis, HTTP, threads or clock.

Every function that depends on time takes `now`, in seconds of whatever
monotonic clock its caller keeps. Routers, queues and the simulator are shells
around the objects of this package: they feed events in and carry out what
comes back.
"""
