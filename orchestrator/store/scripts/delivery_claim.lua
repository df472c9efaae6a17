-- include: record
-- Webhooks to send now. ARGV: how many, lease, how many to look at, hosts to leave out...
-- Returns for each: {number of the try, record, record of its last run or nothing}.

local wanted, lease, most = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local busy, left_out, claimed = {}, {}, {}
for i = 4, #ARGV do busy[ARGV[i]] = true end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', deliveries, '-inf', now, 'LIMIT', 0, most)) do
  if #claimed == wanted then break end
  local request = request_of(id)
  local host = redis.call('HGET', request, 'host')
  if not host then
    redis.call('ZREM', deliveries, id)
  elseif busy[host] then
    left_out[#left_out + 1] = id
  else
    local try = redis.call('HINCRBY', request, 'try', 1)
    redis.call('HSET', request, 'sending', 1)
    redis.call('ZADD', deliveries, now + lease, id)
    local record = record_of(id)
    local run = redis.call('HGET', request, string.format('run:%.0f', record[5] - record[6]))
    claimed[#claimed + 1] = { try, record, run }
  end
end

-- Nothing but webhooks of busy hosts in sight: they let others come before them.
if #left_out == most then
  for _, id in ipairs(left_out) do redis.call('ZADD', deliveries, now + 1000000, id) end
end
return claimed
