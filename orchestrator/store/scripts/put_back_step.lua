-- IN_PROGRESS -> QUEUED at its old rank, after `pause`; or -> FAILED where that was the
-- last attempt. Without a `code` the attempt did not run: it counts neither as an
-- attempt nor as a stay in the queue that is over.
local function put_back(id, pause, code, message, keep_ms)
  local request = request_of(id)
  local f = redis.call('HMGET', request,
    'attempt', 'not_run', 'max', 'rank', 'created', 'life_ms', 'stay', 'left')
  local stay = f[7]
  if code then
    redis.call('HSET', request, 'code', code, 'message', message)
    if f[1] - f[2] >= tonumber(f[3]) then return finish(id, 'FAILED', keep_ms) end
  else
    stay = f[8]
    redis.call('HINCRBY', request, 'not_run', 1)
  end
  redis.call('HSET', request, 'state', 'QUEUED', 'status_at', now)
  redis.call('PEXPIRE', request, f[6])
  redis.call('ZREM', leases, id)
  redis.call('ZREM', listed('IN_PROGRESS'), id)
  redis.call('ZADD', listed('QUEUED'), f[5], id)
  redis.call('ZADD', stays, now + pause + stay, id)
  local index = queue
  if pause > 0 then
    index = paused
    redis.call('ZADD', paused, now + pause, id)
  else
    redis.call('ZADD', queue, f[4], id)
    tell('submitted', id)
  end
  for _, name in ipairs({ index, stays, open, listed('QUEUED') }) do keep(name, f[6]) end
end
