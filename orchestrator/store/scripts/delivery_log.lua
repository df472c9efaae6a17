-- ARGV: id. Returns the log lines of its webhook, oldest first.

return redis.call('LRANGE', tries_of(ARGV[1]), 0, -1)
