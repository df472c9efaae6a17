"""Erlang's formulas: who has to wait, and for how long, where many servers share one line.

They hold for the queue M/M/c: requests come in at random at a constant rate, service
times are exponential, `c` servers take them first come, first served, and nobody
leaves the line. Load is in erlangs: arrivals per second times seconds of service,
which is also how many servers are busy on average.

Sources: A. K. Erlang, "Solution of some problems in the theory of probabilities of
significance in automatic telephone exchanges", 1917, for both formulas; L. Kleinrock,
"Queueing Systems, volume 1", 1975, section 3.5, for the wait; the recursion is the
usual way to compute the first without factorials.
"""

from __future__ import annotations

import math

_DEVIATIONS = 7.0
"""How many standard deviations below the load the recursion may begin (see `_begin`)."""


def erlang_b(servers: int, load: float) -> float:
    """Probability that a request finds all servers busy, where those that do are turned away.

    Args:
        servers: how many there are, at least 0.
        load: erlangs, at least 0.

    Raises:
        ValueError: an argument is negative or no number.
    """
    _check(servers, load)
    if not load:
        return 0.0 if servers else 1.0
    count, blocked = _begin(load, servers)
    return _advance(blocked, load, count, servers)


def erlang_c(servers: int, load: float) -> float:
    """Probability that a request has to wait; 1 where the load is too much for the servers.

    Args:
        servers: how many there are, at least 0.
        load: erlangs, at least 0.

    Raises:
        ValueError: an argument is negative or no number.
    """
    blocked = erlang_b(servers, load)
    return 1.0 if load >= servers else _waits(servers, load, blocked)


def wait_exceeds(servers: int, rate: float, service_s: float, t: float) -> float:
    """Probability that a request waits for more than `t` seconds.

    Args:
        servers: how many there are, at least 0.
        rate: arrivals per second, at least 0.
        service_s: mean seconds of service, more than 0.
        t: seconds, at least 0.

    Raises:
        ValueError: an argument is out of its range or no number.
    """
    load = _load(rate, service_s)
    if not t >= 0:
        raise ValueError(f"a time to wait must be at least 0 s, not {t}")
    waits = erlang_c(servers, load)
    return 1.0 if load >= servers else waits * math.exp(-(servers - load) * t / service_s)


def mean_wait(servers: int, rate: float, service_s: float) -> float:
    """Mean seconds in line, over all requests; `inf` where the load is too much.

    Args:
        servers: how many there are, at least 0.
        rate: arrivals per second, at least 0.
        service_s: mean seconds of service, more than 0.

    Raises:
        ValueError: an argument is out of its range or no number.
    """
    load = _load(rate, service_s)
    waits = erlang_c(servers, load)
    return math.inf if load >= servers else waits * service_s / (servers - load)


def servers_for_wait(
    rate: float, service_s: float, t: float, share: float, *, step: int = 1, at_most: int
) -> int | None:
    """The least number of servers with which at most a share of the requests waits too long.

    It costs one pass over the numbers near the load, some ten of its square roots.

    Args:
        rate: arrivals per second, at least 0.
        service_s: mean seconds of service, more than 0.
        t: seconds that a request may wait.
        share: share of the requests that may wait longer, in (0, 1).
        step: only multiples of this are considered.
        at_most: the largest number to consider.

    Returns:
        A multiple of `step`; None where not even `at_most` servers are enough.

    Raises:
        ValueError: a rate or a time is out of its range or no number.
    """
    load = _load(rate, service_s)
    if not load:
        return 0
    candidate = (math.floor(load / step) + 1) * step
    tail = math.exp(-(candidate - load) * t / service_s)
    shrinks = math.exp(-step * t / service_s)
    begin, blocked = _begin(load, candidate)
    # `_advance`, `_waits` and `wait_exceeds` in one: a queue asks at every tick.
    for count in range(begin + 1, at_most + 1):
        offered = load * blocked
        blocked = offered / (count + offered)
        if count == candidate:
            if count * blocked * tail <= share * (count - load * (1.0 - blocked)):
                return count
            candidate += step
            tail *= shrinks
    return None


def _waits(servers: int, load: float, blocked: float) -> float:
    """Erlang's second formula from his first, for a load that is less than the servers."""
    return servers * blocked / (servers - load * (1.0 - blocked))


def _begin(load: float, servers: int) -> tuple[int, float]:
    """A number of servers at which the recursion may begin, and the first formula's value there.

    A step of the recursion from n - 1 to n < load shrinks a relative error by `n / load`
    or more; from `k` standard deviations (square roots of the load) below the load up to
    it, by `exp(-k * k / 2)` altogether. So it need not begin at 0: it begins at the fluid
    limit, `1 - n / load`, where that is so far below that no digit is lost. For fewer
    servers than the load it does begin at 0.
    """
    begin = math.floor(load - _DEVIATIONS * math.sqrt(load)) if servers > load else 0
    begin = max(begin, 0)
    return begin, 1.0 - begin / load


def _advance(blocked: float, load: float, since: int, until: int) -> float:
    """Erlang's first formula for `until` servers, from its value for `since` of them."""
    for count in range(since + 1, until + 1):
        offered = load * blocked
        blocked = offered / (count + offered)
    return blocked


def _load(rate: float, service_s: float) -> float:
    if not rate >= 0:
        raise ValueError(f"a rate must be at least 0 a second, not {rate}")
    if not service_s > 0:
        raise ValueError(f"a time of service must be more than 0 s, not {service_s}")
    load = rate * service_s
    if load == math.inf:
        raise ValueError(f"a load must be finite, not {rate} a second times {service_s} s")
    return load


def _check(servers: int, load: float) -> None:
    if servers < 0:
        raise ValueError(f"a number of servers must be at least 0, not {servers}")
    if not 0 <= load < math.inf:
        raise ValueError(f"a load must be at least 0 erlangs, and finite, not {load}")
