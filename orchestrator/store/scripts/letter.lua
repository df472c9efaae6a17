-- How a dead letter is told of: id, about, when it was given up, reason, log lines.
-- Nothing where the request is not known any more.
local function letter_of(id, moment)
  local f = redis.call('HMGET', request_of(id), 'about', 'reason')
  if not f[1] then return nil end
  return { id, f[1], moment, f[2], redis.call('LRANGE', tries_of(id), 0, -1) }
end
