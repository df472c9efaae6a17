-- include: life put_back_step
-- IN_PROGRESS -> QUEUED, or FAILED after the last attempt. ARGV: id, attempt, pause,
-- code ('': the attempt did not run), message, keep_ms, the run's record or
-- ''. Returns as succeed does.

local id = ARGV[1]
local f = redis.call('HMGET', request_of(id), 'state', 'attempt', 'not_run')
if f[1] ~= 'IN_PROGRESS' or f[2] ~= ARGV[2] then return 0 end
local code = ARGV[4] ~= '' and ARGV[4] or nil
if code then write_run(id, ARGV[2] - f[3], ARGV[7]) end
put_back(id, tonumber(ARGV[3]), code, ARGV[5], ARGV[6])
return 1
