-- include: life put_back_step
-- What is there to do; and what has fallen due by itself is done: pauses end, stays and
-- leases run out, what was kept long enough is forgotten. ARGV: how many of the first
-- to tell of, how much to do of each at most, longest that nothing is planned while
-- there is work, keep_ms.
-- Returns {ready, deliveries due, until the next or -1, age and priority of the first...}.

local most = tonumber(ARGV[2])
local function due(index)
  return redis.call('ZRANGEBYSCORE', index, '-inf', now, 'LIMIT', 0, most)
end
local function known(id)
  if redis.call('EXISTS', request_of(id)) == 1 then return true end
  forget({ id })
end

for _, id in ipairs(due(paused)) do
  if known(id) then
    redis.call('ZREM', paused, id)
    redis.call('ZADD', queue, redis.call('HGET', request_of(id), 'rank'), id)
    keep(queue, redis.call('PTTL', request_of(id)))
    tell('submitted', id)
  end
end
for _, id in ipairs(due(stays)) do
  if known(id) then expire(id, ARGV[4]) end
end
for _, id in ipairs(due(leases)) do
  if known(id) then
    put_back(id, 0, 'MODEL_UNAVAILABLE', 'the dispatcher that ran it died', ARGV[4])
  end
end
local old = due(kept)
if #old > 0 then forget(old) end

-- What is left of the others is still due, and so comes next; of these only this tells.
local nearest = #old == most and 0 or -1
local ready, sending = redis.call('ZCARD', queue), redis.call('ZCOUNT', deliveries, '-inf', now)
local function plan(moment)
  if moment and (nearest < 0 or moment - now < nearest) then nearest = math.max(0, moment - now) end
end
for _, index in ipairs({ paused, stays, leases }) do
  plan(redis.call('ZRANGE', index, 0, 0, 'WITHSCORES')[2])
end
plan(redis.call('ZRANGEBYSCORE', deliveries, '(' .. string.format('%.0f', now), '+inf',
  'WITHSCORES', 'LIMIT', 0, 1)[2])
if ready + sending + redis.call('ZCARD', leases) > 0 then plan(now + ARGV[3]) end

local seen = { ready, sending, nearest }
for _, id in ipairs(tonumber(ARGV[1]) > 0 and redis.call('ZRANGE', queue, 0, ARGV[1] - 1) or {}) do
  local f = redis.call('HMGET', request_of(id), 'created', 'priority')
  if f[1] then
    seen[#seen + 1] = now - f[1]
    seen[#seen + 1] = tonumber(f[2])
  end
end
return seen
