-- include: life webhook
-- A dead letter -> PENDING, due now, its tries from the beginning. ARGV: id, keep_ms.
-- Returns 1; 0: it is no dead letter.

local id = ARGV[1]
if redis.call('ZREM', dead, id) == 0 then return 0 end
local state = redis.call('HGET', request_of(id), 'state')
if not state then return 0 end
redis.call('HSET', request_of(id), 'hook', 'PENDING', 'try', 0, 'sending', 0)
plan(id, state, 0, ARGV[2] + PENDING_MS)
tell('delivery', id)
return 1
