# Whether this pod's Sentinel answers.
valkey-cli -p 26379 ping | grep -q PONG
