-- include: life webhook
-- PENDING, to be tried again. ARGV: id, attempt, log line, pause. Returns as delivered does.

local id = ARGV[1]
local f = trying(id, ARGV[2])
if not f then return 0 end
redis.call('HSET', request_of(id), 'sending', 0)
plan(id, f[1], ARGV[4], PENDING_MS)
write_down(id, ARGV[3])
tell('delivery', id) -- so that all look when it is due
return 1
