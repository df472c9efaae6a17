-- Steps of a webhook's delivery. Whoever claimed a try names its number, which fences
-- its lease: of a receiver, at worst, the same webhook is asked for twice.

-- What of the request is needed, where try `attempt` is under way; nothing otherwise.
local function trying(id, attempt)
  local f = redis.call('HMGET', request_of(id), 'state', 'hook', 'try', 'sending')
  if f[2] == 'PENDING' and f[3] == attempt and f[4] == '1' then return f end
end

-- Whether try `attempt` ended so before: asked again, the first answer was lost.
local function ended(id, attempt, hook)
  local f = redis.call('HMGET', request_of(id), 'hook', 'try')
  return f[1] == hook and f[2] == attempt
end

-- Makes a webhook due in `pause`, and lets its request live long enough for that.
local function plan(id, state, pause, keep_ms)
  local ms = math.max(keep_ms + math.ceil(pause / 1000), redis.call('PTTL', request_of(id)))
  redis.call('ZADD', deliveries, now + pause, id)
  retain(id, state, ms)
  keep(deliveries, ms)
end

local function write_down(id, line)
  redis.call('RPUSH', tries_of(id), line)
  redis.call('LTRIM', tries_of(id), -32, -1)
  redis.call('PEXPIRE', tries_of(id), redis.call('PTTL', request_of(id)))
end
