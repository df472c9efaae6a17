-- How a request is told of: the fields in the order of `orchestrator.store.decoding`,
-- and its place in the queue, or -1.
local FIELDS = { 'state', 'hook', 'created', 'status_at', 'attempt', 'not_run', 'priority',
  'about', 'code', 'message', 'type', 'length', 'reference', 'rank', 'result' }

-- Nothing where it is unknown; without its result's bytes where `short`.
local function record_of(id, short)
  local f = redis.call('HMGET', request_of(id), unpack(FIELDS, 1, short and #FIELDS - 1 or #FIELDS))
  if not f[1] then return nil end
  local place = -1
  if f[1] == 'QUEUED' then
    place = redis.call('ZCOUNT', queue, '-inf', '(' .. f[14])
  end
  f[15] = f[15] or false
  f[16] = place
  f[17] = id
  return f
end
