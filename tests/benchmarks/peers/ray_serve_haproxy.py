"""Ray Serve's two-deployment composition under HAProxy, with its throughput settings."""

from collections.abc import Mapping

from tests.benchmarks.peers.ray_serve import RayServePeer
from tests.ports import free_ports, free_range

# Serve takes one port per ingress replica (here one) from a range; the rest is room for a
# replica that is replaced while the old one's port is in quarantine.
RANGE = 20


class RayServeHAProxyPeer(RayServePeer):
    """The same application; HAProxy in front, calls by gRPC, no extra threads."""

    name = "ray_serve_haproxy"
    label = "Ray Serve + HAProxy"

    def settings(self) -> Mapping[str, str]:
        """Its own ports and files, so that a second cluster on the machine is not met."""
        statistics, metrics, fallback, fallback_grpc = free_ports(4)
        first = free_range(2 * RANGE)
        files = self.folder
        return {
            **super().settings(),
            "RAY_SERVE_ENABLE_HA_PROXY": "1",
            "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
            "RAY_SERVE_HAPROXY_STATS_PORT": str(statistics),
            "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics),
            "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback),
            "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc),
            "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(files / "haproxy.cfg"),
            "RAY_SERVE_HAPROXY_SOCKET_PATH": str(files / "admin.sock"),
            "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(files / "metrics.sock"),
            "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(files),
            "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(files / "server-state"),
            "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first),
            "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first + RANGE - 1),
            "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(first + RANGE),
            "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(first + 2 * RANGE - 1),
            # Nobody is left to drain when the benchmark ends it.
            "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "0",
        }
