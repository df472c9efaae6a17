-- Steps that several scripts share. The caller has checked that the step is allowed.

local PENDING_MS = 259200000 -- a webhook that is pending keeps its request this much longer

-- Lets an ended request be known for `ms` from now.
local function retain(id, state, ms)
  redis.call('PEXPIRE', request_of(id), ms)
  redis.call('PEXPIRE', tries_of(id), ms)
  redis.call('ZADD', kept, now + ms * 1000, id)
  keep(kept, ms)
  keep(listed(state), ms)
end

-- Takes every trace of requests out of all indexes.
local function forget(ids)
  local indexes = { queue, paused, stays, leases, deliveries, dead, kept,
    listed('QUEUED'), listed('IN_PROGRESS'), listed('SUCCEEDED'), listed('FAILED'),
    listed('EXPIRED'), listed('CANCELED') }
  for _, index in ipairs(indexes) do redis.call('ZREM', index, unpack(ids)) end
  for _, id in ipairs(ids) do redis.call('DEL', request_of(id), tries_of(id)) end
  -- What vanished before its end could not be counted down; this puts it right.
  if redis.call('EXISTS', stays, leases) == 0 then redis.call('DEL', open) end
end

local function count_down(field, by)
  if redis.call('HINCRBY', open, field, -by) <= 0 then redis.call('HDEL', open, field) end
end

-- QUEUED or IN_PROGRESS -> a final state, and the webhook is due where one is wanted.
local function finish(id, state, keep_ms)
  local request = request_of(id)
  local f = redis.call('HMGET', request, 'state', 'created', 'size', 'key', 'hook')
  redis.call('ZREM', listed(f[1]), id)
  redis.call('ZADD', listed(state), f[2], id)
  if f[1] == 'QUEUED' then
    redis.call('ZREM', queue, id)
    redis.call('ZREM', paused, id)
    redis.call('ZREM', stays, id)
  else
    redis.call('ZREM', leases, id)
  end
  count_down('bytes', f[3])
  if f[4] ~= '' then count_down('key ' .. f[4], 1) end
  redis.call('HDEL', request, 'input')
  redis.call('HSET', request, 'state', state, 'status_at', now)
  local ms = tonumber(keep_ms)
  if f[5] == 'PENDING' and state == 'CANCELED' then
    redis.call('HSET', request, 'hook', 'CANCELED')
  elseif f[5] == 'PENDING' then
    ms = ms + PENDING_MS
    redis.call('ZADD', deliveries, now, id)
    keep(deliveries, ms)
    tell('delivery', id)
  end
  retain(id, state, ms)
  tell('ended', id)
end

-- Keeps what the dispatcher tells of a run, `number` being that of the run: the attempt's
-- without those that did not run.
local function write_run(id, number, record)
  if record ~= '' then
    redis.call('HSET', request_of(id), string.format('run:%.0f', number), record)
  end
end

-- QUEUED -> EXPIRED: its stay is over.
local function expire(id, keep_ms)
  local stay = redis.call('HGET', request_of(id), 'stay')
  local message = string.format('no replica had room within %.0f s', stay / 1000000)
  redis.call('HSET', request_of(id), 'code', 'MODEL_NOT_READY', 'message', message)
  finish(id, 'EXPIRED', keep_ms)
end
