#!/bin/sh
# Stands for HAProxy, which Ray Serve starts: changes the config that Serve wrote, then
# becomes HAProxy itself, with the same arguments and the same process id.
#
#   ORCHESTRATOR_HAPROXY         the program
#   ORCHESTRATOR_HAPROXY_PUBLIC  address that the public port listens on; empty: as written
#
# Metrics and statistics, for which Serve knows no address, listen on loopback. A peer that
# vanished without a word is noticed within 11 s, so that its requests can go elsewhere. Those
# can only go that were complete when they were sent; to wait for that (http-buffer-request)
# would hold back the 413 that a caller is owed before it sends a large body.
set -eu

config=
previous=
for argument do
  if [ "$previous" = -f ]; then config=$argument; fi
  previous=$argument
done

case $config in
*/haproxy.cfg)
  sed -e '/^frontend prometheus$/{n;s/^\( *bind \).*:/\1127.0.0.1:/;}' \
    -e '/^listen stats$/{n;s/^\( *bind \).*:/\1127.0.0.1:/;}' \
    -e "/^frontend http_frontend\$/{n;s/^\( *bind \)\(.*\):/\1${ORCHESTRATOR_HAPROXY_PUBLIC:-\2}:/;}" \
    -e '/^ *default-server /s/$/ tcp-ut 11s/' \
    -e '/^defaults$/a\
    option srvtcpka\
    srvtcpka-idle 5s\
    srvtcpka-intvl 2s\
    srvtcpka-cnt 3\
    option clitcpka\
    clitcpka-idle 5s\
    clitcpka-intvl 2s\
    clitcpka-cnt 3' "$config" >"$config.ours"
  mv "$config.ours" "$config"
  ;;
esac

exec "$ORCHESTRATOR_HAPROXY" "$@"
