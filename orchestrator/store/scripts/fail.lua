-- include: life
-- IN_PROGRESS -> FAILED. ARGV: id, attempt, code, message, keep_ms, the run's record or ''.
-- Returns as succeed does.

local id, attempt = ARGV[1], ARGV[2]
local f = redis.call('HMGET', request_of(id), 'state', 'attempt', 'not_run')
if f[2] ~= attempt then return 0 end
if f[1] == 'FAILED' then return 1 end -- asked again: the first answer was lost
if f[1] ~= 'IN_PROGRESS' then return 0 end
redis.call('HSET', request_of(id), 'code', ARGV[3], 'message', ARGV[4])
write_run(id, attempt - f[3], ARGV[6])
finish(id, 'FAILED', ARGV[5])
return 1
