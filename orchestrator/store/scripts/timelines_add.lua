-- include: timelines
-- Keeps timelines. ARGV: most of an environment, most of all, most of one id, keep_ms,
-- moment before which they are over; for each: span id, tag, moment, id, another id or
-- '', text.

local per_tag, most, per_id, keep_ms, over = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local touched, sizes = {}, {}
for i = 6, #ARGV, 6 do
  local member, moment = ARGV[i] .. ':' .. ARGV[i + 1], ARGV[i + 2]
  redis.call('SET', text_of(member), ARGV[i + 5], 'PX', keep_ms)
  local indexes = { { all, most }, { of(ARGV[i + 1]), per_tag }, { named(ARGV[i + 3]), per_id } }
  if ARGV[i + 4] ~= '' then indexes[4] = { named(ARGV[i + 4]), per_id } end
  for _, index in ipairs(indexes) do
    redis.call('ZADD', index[1], moment, member)
    if not sizes[index[1]] then touched[#touched + 1] = index[1] end
    sizes[index[1]] = tonumber(index[2])
  end
end
for _, index in ipairs(touched) do
  redis.call('ZREMRANGEBYSCORE', index, '-inf', '(' .. over)
  local count = redis.call('ZCARD', index)
  if count > sizes[index] then trim(index, count - sizes[index] - 1) end
  live(index, keep_ms)
end
return #touched
