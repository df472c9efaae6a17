-- include: timelines
-- A part of the list, newest first. ARGV: moment before which, or '+inf'; moment since
-- which; how many; tags of environments, none: of all.
-- Returns {moment to go on before, or '' at the end; texts...}.

local before, since, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
local found = {}
local function look(index)
  local part = redis.call('ZREVRANGEBYSCORE', index, before, since, 'WITHSCORES', 'LIMIT', 0, limit)
  for j = 1, #part, 2 do found[#found + 1] = { part[j], part[j + 1] } end
end
if #ARGV == 3 then look(all) end
for i = 4, #ARGV do look(of(ARGV[i])) end
if #ARGV > 4 then
  table.sort(found, function(a, b) return tonumber(a[2]) > tonumber(b[2]) end)
end

local page = { '' }
for i = 1, math.min(limit, #found) do
  local text = redis.call('GET', text_of(found[i][1]))
  if text then page[#page + 1] = text end
end
if #found >= limit then page[1] = '(' .. found[limit][2] end
return page
