-- include: life
-- QUEUED -> IN_PROGRESS, best rank first. ARGV: how many, lease, keep_ms.
-- Returns for each: {id, attempt, those that did not run, age, how long it has been
-- QUEUED, about, input}.

local wanted, lease = tonumber(ARGV[1]), ARGV[2]
local claimed, steps = {}, 0
while #claimed < wanted and steps < 100 do
  local ids = redis.call('ZRANGE', queue, 0, wanted - #claimed - 1)
  if #ids == 0 then break end
  for _, id in ipairs(ids) do
    steps = steps + 1
    local request = request_of(id)
    local f = redis.call('HMGET', request,
      'attempt', 'not_run', 'created', 'life_ms', 'about', 'input', 'status_at')
    local ends = redis.call('ZSCORE', stays, id)
    if not f[1] then
      forget({ id })
    elseif tonumber(ends or 0) <= now then
      expire(id, ARGV[3])
    else
      local attempt = f[1] + 1
      redis.call('HSET', request, 'state', 'IN_PROGRESS', 'status_at', now,
        'attempt', attempt, 'left', ends - now)
      redis.call('PEXPIRE', request, f[4])
      redis.call('ZREM', queue, id)
      redis.call('ZREM', stays, id)
      redis.call('ZADD', leases, now + lease, id)
      redis.call('ZREM', listed('QUEUED'), id)
      redis.call('ZADD', listed('IN_PROGRESS'), f[3], id)
      for _, name in ipairs({ leases, open, listed('IN_PROGRESS') }) do keep(name, f[4]) end
      claimed[#claimed + 1] = { id, attempt, tonumber(f[2]), now - f[3], now - f[7],
        f[5], f[6] }
    end
  end
end
return claimed
