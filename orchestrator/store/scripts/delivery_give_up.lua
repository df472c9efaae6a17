-- include: life webhook
-- PENDING -> FAILED, among the dead letters. ARGV: id, attempt, log line, reason, dead_ms,
-- keep_ms.
-- Returns as delivered does.

local id, attempt = ARGV[1], ARGV[2]
if ended(id, attempt, 'FAILED') then return 1 end
local f = trying(id, attempt)
if not f then return 0 end
redis.call('HSET', request_of(id), 'hook', 'FAILED', 'sending', 0, 'reason', ARGV[4])
redis.call('ZREM', deliveries, id)
redis.call('ZADD', dead, now, id)
local ms = math.max(ARGV[5], ARGV[6])
keep(dead, ms)
retain(id, f[1], ms)
write_down(id, ARGV[3])
return 1
