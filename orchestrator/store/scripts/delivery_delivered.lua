-- include: life webhook
-- PENDING -> SUCCEEDED. ARGV: id, attempt, log line, keep_ms. Returns 1; 0: the lease
-- was another's, nothing is changed.

local id, attempt = ARGV[1], ARGV[2]
if ended(id, attempt, 'SUCCEEDED') then return 1 end
local f = trying(id, attempt)
if not f then return 0 end
redis.call('HSET', request_of(id), 'hook', 'SUCCEEDED', 'sending', 0)
redis.call('ZREM', deliveries, id)
write_down(id, ARGV[3])
retain(id, f[1], tonumber(ARGV[4]))
return 1
