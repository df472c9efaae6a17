-- include: record
-- ARGV: id. Returns {record, records of its runs...}; nothing: unknown.

local record = record_of(ARGV[1])
if not record then return false end
local answer, names = { record }, {}
for number = 1, math.min(record[5] - record[6], 32) do names[number] = 'run:' .. number end
if #names > 0 then
  for _, run in ipairs(redis.call('HMGET', request_of(ARGV[1]), unpack(names))) do
    if run then answer[#answer + 1] = run end
  end
end
return answer
