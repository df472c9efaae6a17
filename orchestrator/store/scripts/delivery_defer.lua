-- include: life webhook
-- PENDING, not tried after all. ARGV: id, attempt, pause. Returns as delivered does.

local id = ARGV[1]
local f = trying(id, ARGV[2])
if not f then return 0 end
redis.call('HSET', request_of(id), 'sending', 0, 'try', ARGV[2] - 1)
plan(id, f[1], ARGV[3], PENDING_MS)
return 1
