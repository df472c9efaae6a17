-- ARGV: lease, then an id and an attempt for each. Returns the ids whose lease is
-- another's, or nobody's.

local lost = {}
for i = 2, #ARGV, 2 do
  local id = ARGV[i]
  local f = redis.call('HMGET', request_of(id), 'state', 'attempt')
  if f[1] == 'IN_PROGRESS' and f[2] == ARGV[i + 1] then
    redis.call('ZADD', leases, now + ARGV[1], id)
  else
    lost[#lost + 1] = id
  end
end
return lost
