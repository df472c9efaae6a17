# Starts a server. Its password comes from its Secret, and no command line shows it.
set -eu
umask 077
: "${VALKEY_CONFIG:=/etc/valkey}" "${VALKEY_DATA:=/data}" "${VALKEY_RUN:=/run/valkey}"
: "${VALKEY_SECRET:=/etc/valkey-password}"
cat > "$VALKEY_RUN/server.conf" <<END
include $VALKEY_CONFIG/valkey.conf
dir $VALKEY_DATA
requirepass "$(cat "$VALKEY_SECRET/password")"
END
exec valkey-server "$VALKEY_RUN/server.conf"
