# Starts a server: as the primary if it is that, else as one of its replicas.
. "${VALKEY_CONFIG:-/etc/valkey}/names.sh"
primary="$(primary)"
password="$(cat "$VALKEY_SECRET/password")"
cat > "$VALKEY_RUN/server.conf" <<END
include $VALKEY_CONFIG/valkey.conf
port $VALKEY_PORT
dir $VALKEY_DATA
requirepass "$password"
masterauth "$password"
replica-announce-ip $VALKEY_NAME
END
[ "$primary" = "$VALKEY_NAME" ] ||
  echo "replicaof $primary $VALKEY_PORT" >> "$VALKEY_RUN/server.conf"
exec valkey-server "$VALKEY_RUN/server.conf"
