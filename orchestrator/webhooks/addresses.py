"""Which IP addresses are public: where a webhook may go without leave.

Python's own `is_global` is not enough: depending on its patch release it calls
multicast, 6to4 and NAT64 addresses of private hosts, site-local and
IPv4-compatible ones global. So the ranges are here, from IANA's special-purpose
address registries (as of 2026), each with its name.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_NOT_PUBLIC_IPV4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network; Linux takes 0.0.0.0 for loopback
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carriers' NAT; also Alibaba Cloud's metadata
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's host: public by its number, metadata by its use
        "169.254.0.0/16",  # link-local; also the metadata of AWS, Azure, Google Cloud
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; also Oracle Cloud's metadata
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)

_PUBLIC_IPV6: Final = IPv6Network("2000::/3")
"""The only part of IPv6 that is given to hosts in the internet. All else is refused with it:
unspecified, loopback, IPv4-compatible, discard-only, unique local, which has the metadata
fd00:ec2::254 of AWS and fd20:ce::254 of Google Cloud, link-local, site-local, multicast."""

_NOT_PUBLIC_IPV6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID and others
        "2001:db8::/32",  # documentation
        "3fff::/20",  # documentation
    )
)

_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")


def embedded(address: Address) -> IPv4Address | None:
    """The IPv4 address that packets to an IPv6 address end up at; None: there is none.

    For IPv4-mapped addresses, NAT64's well-known prefix and 6to4.
    """
    if isinstance(address, IPv4Address):
        return None
    if address in _MAPPED or address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address in _SIX_TO_FOUR:
        return IPv4Address(int(address) >> 80 & 0xFFFF_FFFF)
    return None


def is_public(address: Address) -> bool:
    """Whether an address belongs to a host in the internet, as far as its number tells."""
    inner = embedded(address)
    if inner is not None:
        return is_public(inner)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_IPV4)
    return address in _PUBLIC_IPV6 and not any(address in n for n in _NOT_PUBLIC_IPV6)
