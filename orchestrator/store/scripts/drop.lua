-- include: life
-- Takes a request out of the dead letters; its webhook stays FAILED. ARGV: id, keep_ms.
-- Returns 1; 0: it is no dead letter.

local id = ARGV[1]
if redis.call('ZREM', dead, id) == 0 then return 0 end
local state = redis.call('HGET', request_of(id), 'state')
if state then retain(id, state, tonumber(ARGV[2])) end
return 1
