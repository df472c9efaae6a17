-- include: letter
-- Newest first. ARGV: moment before which, or '+inf'; how many.
-- Returns {moment to go on before, or '' at the end; dead letters...}.

local found = redis.call('ZREVRANGEBYSCORE', dead, ARGV[1], '-inf', 'WITHSCORES',
  'LIMIT', 0, ARGV[2])
local page = { '' }
for i = 1, #found, 2 do page[#page + 1] = letter_of(found[i], found[i + 1]) end
if #found == 2 * tonumber(ARGV[2]) then page[1] = '(' .. found[#found] end
return page
