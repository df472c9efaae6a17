-- include: record
-- Newest first. ARGV: moment of acceptance before which, or '+inf'; how many; states.
-- Returns {moment to go on before, or '' at the end; records...}.

local before, limit = ARGV[1], tonumber(ARGV[2])
local found = {}
for i = 3, #ARGV do
  local part = redis.call('ZREVRANGEBYSCORE', listed(ARGV[i]), before, '-inf',
    'WITHSCORES', 'LIMIT', 0, limit)
  for j = 1, #part, 2 do found[#found + 1] = { part[j], part[j + 1] } end
end
table.sort(found, function(a, b) return tonumber(a[2]) > tonumber(b[2]) end)

local page = { '' }
for i = 1, math.min(limit, #found) do
  page[#page + 1] = record_of(found[i][1], true)
end
-- Full parts may go on; what lies beyond the last that was looked at comes next time.
if #found >= limit then page[1] = '(' .. found[limit][2] end
return page
