-- Accepts a request. ARGV: id, idempotency key or '', hash of the body, most open
-- requests, most bytes, most requests of its API key or '', API key, size of the input,
-- rank behind its arrival, stay, life_ms, attempts at most, priority, webhook status,
-- its host, about, input.
-- Returns {'accepted', id, 1 if it is new}, {'conflict'} or {'full', the bound reached}.

local id, idempotency, body, owner = ARGV[1], ARGV[2], ARGV[3], ARGV[7]
local request, size, life_ms = request_of(id), tonumber(ARGV[8]), ARGV[11]
-- The same submission again: the answer to the first was lost on its way.
if redis.call('EXISTS', request) == 1 then return { 'accepted', id, 1 } end

local remembered = base .. 'idempotency:' .. idempotency
local earlier = idempotency ~= '' and redis.call('GET', remembered)
if earlier then
  local first, its_body = string.match(earlier, '^(%S+) (.*)$')
  if its_body ~= body then return { 'conflict' } end
  return { 'accepted', first, 0 }
end

local requests = redis.call('ZCARD', listed('QUEUED')) + redis.call('ZCARD', listed('IN_PROGRESS'))
local counted = redis.call('HMGET', open, 'bytes', 'key ' .. owner)
if requests >= tonumber(ARGV[4]) then return { 'full', 'requests' } end
if (counted[1] or 0) + size > tonumber(ARGV[5]) then return { 'full', 'bytes' } end
if owner ~= '' and ARGV[6] ~= '' and tonumber(counted[2] or 0) >= tonumber(ARGV[6]) then
  return { 'full', 'key' }
end

local rank = now + ARGV[9]
redis.call('HSET', request, 'state', 'QUEUED', 'hook', ARGV[14], 'host', ARGV[15],
  'created', now, 'status_at', now, 'rank', rank, 'stay', ARGV[10], 'life_ms', life_ms,
  'key', owner, 'size', size, 'priority', ARGV[13], 'attempt', 0, 'not_run', 0,
  'max', ARGV[12], 'about', ARGV[16], 'input', ARGV[17])
redis.call('PEXPIRE', request, life_ms)
redis.call('ZADD', queue, rank, id)
redis.call('ZADD', stays, now + ARGV[10], id)
redis.call('ZADD', listed('QUEUED'), now, id)
redis.call('HINCRBY', open, 'bytes', size)
if owner ~= '' then redis.call('HINCRBY', open, 'key ' .. owner, 1) end
for _, name in ipairs({ queue, stays, open, listed('QUEUED') }) do keep(name, life_ms) end
if idempotency ~= '' then
  redis.call('SET', remembered, id .. ' ' .. body, 'PX', 86400000)
end
tell('submitted', id)
return { 'accepted', id, 1 }
