-- include: life
-- IN_PROGRESS -> SUCCEEDED. ARGV: id, attempt, content type, size, data, reference, keep_ms,
-- the run's record or ''.
-- Returns 1; 0: the lease was another's, nothing is changed.

local id, attempt = ARGV[1], ARGV[2]
local f = redis.call('HMGET', request_of(id), 'state', 'attempt', 'not_run')
if f[2] ~= attempt then return 0 end
if f[1] == 'SUCCEEDED' then return 1 end -- asked again: the first answer was lost
if f[1] ~= 'IN_PROGRESS' then return 0 end
redis.call('HSET', request_of(id), 'type', ARGV[3], 'length', ARGV[4],
  'result', ARGV[5], 'reference', ARGV[6])
write_run(id, attempt - f[3], ARGV[8])
finish(id, 'SUCCEEDED', ARGV[7])
return 1
