-- Returns how many are QUEUED and how many IN_PROGRESS.

return { redis.call('ZCARD', stays), redis.call('ZCARD', leases) }
