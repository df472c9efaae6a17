# Whether the server of this pod answers; while it reads its files, it does not.
REDISCLI_AUTH="$(cat /etc/valkey-password/password)" valkey-cli ping | grep -q PONG
