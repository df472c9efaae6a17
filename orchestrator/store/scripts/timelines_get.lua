-- include: timelines
-- The timelines of an id, newest first. ARGV: id, how many at most.

local found = {}
for _, member in ipairs(redis.call('ZREVRANGE', named(ARGV[1]), 0, ARGV[2] - 1)) do
  local text = redis.call('GET', text_of(member))
  if text then found[#found + 1] = text end
end
return found
