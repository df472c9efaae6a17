# Starts a Sentinel. It keeps what it learns in its own file; the password there is the latest.
# Two of them that are left may elect themselves at once; they try again after twice
# failover-timeout.
. "${VALKEY_CONFIG:-/etc/valkey}/names.sh"
if [ ! -f "$known" ]; then
  cat "$VALKEY_CONFIG/sentinel.conf" - > "$known.new" <<END
port $SENTINEL_PORT
dir $VALKEY_RUN
sentinel announce-ip $VALKEY_NAME
sentinel announce-port $SENTINEL_PORT
sentinel monitor orchestrator $(primary) $VALKEY_PORT 2
sentinel down-after-milliseconds orchestrator $SENTINEL_DOWN_AFTER_MS
sentinel failover-timeout orchestrator $SENTINEL_FAILOVER_MS
END
else
  grep -v '^sentinel auth-pass ' "$known" > "$known.new"
fi
echo "sentinel auth-pass orchestrator \"$(cat "$VALKEY_SECRET/password")\"" >> "$known.new"
mv "$known.new" "$known"
exec valkey-server "$known" --sentinel
