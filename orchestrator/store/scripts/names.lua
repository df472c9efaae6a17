-- In front of every script. KEYS[1]: what the names of all keys of one environment
-- begin with. Moments and spans are microseconds of the store's own clock, but what
-- ends in `_ms` is in milliseconds, as expiries are.

local base = KEYS[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

local queue = base .. 'queue' -- id -> rank: may be claimed
local paused = base .. 'paused' -- id -> when its pause ends: QUEUED too
local stays = base .. 'stays' -- id -> when it expires: whatever is QUEUED
local leases = base .. 'leases' -- id -> when its lease ends: whatever is IN_PROGRESS
local deliveries = base .. 'deliveries' -- id -> when its webhook is due, or its lease ends
local dead = base .. 'dead' -- id -> when its webhook was given up
local kept = base .. 'kept' -- id -> when it is forgotten: whatever has ended
local open = base .. 'open' -- hash: bytes, and `key <prefix>`: requests not ended

local function request_of(id) return base .. 'request:' .. id end
local function tries_of(id) return base .. 'tries:' .. id end
local function listed(state) return base .. 'list:' .. state end -- id -> when it was accepted

-- Lets a key live `ms` from now at least. A day more is given each time, so that a
-- busy key is not touched at every call.
local function keep(name, ms)
  if redis.call('PTTL', name) < tonumber(ms) then
    redis.call('PEXPIRE', name, ms + 86400000)
  end
end

local function tell(kind, id) redis.call('PUBLISH', base .. 'news', kind .. ' ' .. id) end
