# What the scripts of a server and of its Sentinel have in common. To be read by them.
set -eu
umask 077
: "${VALKEY_CONFIG:=/etc/valkey}" "${VALKEY_DATA:=/data}" "${VALKEY_RUN:=/run/valkey}"
: "${VALKEY_SECRET:=/etc/valkey-password}"
: "${VALKEY_PORT:=6379}" "${SENTINEL_PORT:=26379}"
: "${SENTINEL_DOWN_AFTER_MS:=5000}" "${SENTINEL_FAILOVER_MS:=10000}"
: "${VALKEY_NAME:=$(hostname).store-peers}"
: "${VALKEY_PEERS:=store-0.store-peers store-1.store-peers store-2.store-peers}"
known="$VALKEY_DATA/sentinel.conf"

# "EPOCH NAME" of the primary, as one Sentinel tells it.
ask() {
  timeout 2 valkey-cli -h "$1" -p "$SENTINEL_PORT" sentinel master orchestrator 2>/dev/null |
    awk '$0 == "ip" { getline; name = $0 } $0 == "config-epoch" { getline; epoch = $0 }
         END { if (name != "" && epoch != "") print epoch, name }'
}

# The same, as this pod's Sentinel knew it when it ended.
remember() {
  [ ! -f "$known" ] || awk '$2 == "monitor" && $3 == "orchestrator" { name = $4 }
    $2 == "config-epoch" && $3 == "orchestrator" { epoch = $4 }
    END { if (name != "") print epoch + 0, name }' "$known"
}

# The primary of the latest failover that anybody knows of; before the first, the first pod.
primary() {
  found="$({ for peer in $VALKEY_PEERS; do ask "$peer" || true; done; remember; } |
    sort -rn | head -n 1)"
  echo "${found:-0 ${VALKEY_PEERS%% *}}" | cut -d ' ' -f 2
}
