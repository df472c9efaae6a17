-- In front of the scripts of kept timelines. KEYS[1]: what the names of their keys
-- begin with. A timeline's member is `<span id>:<tag of its environment>`; the tag is
-- empty where it has none. Moments are Unix seconds on the clocks of who wrote them.

local base = KEYS[1]
local all = base .. 'all' -- member -> when it ended: of all environments

local function text_of(member) return base .. 'text:' .. member end
local function named(id) return base .. 'named:' .. id end -- member -> when it ended
local function of(tag) return base .. 'of:' .. tag end -- member -> when it ended
local function home(member) return of(string.match(member, ':(.*)$')) end

-- Takes what lies between two ranks (the oldest is 0) out of an index and forgets it.
local function trim(index, last)
  local old = redis.call('ZRANGE', index, 0, last)
  for _, member in ipairs(old) do
    redis.call('ZREM', index, member)
    redis.call('ZREM', all, member)
    redis.call('ZREM', home(member), member)
    redis.call('DEL', text_of(member))
  end
end

local function live(name, ms)
  if redis.call('PTTL', name) < tonumber(ms) then redis.call('PEXPIRE', name, ms) end
end
