-- A new signing key. KEYS[1]: hash, id -> 'created expires secret' (expires 0: in use).
-- ARGV: id, secret, 1 to rotate, how long the others are used on then, expiry_ms.
-- Returns when it was created.

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local newest = nil -- of the others: the one that is used on
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local created, expires = string.match(all[i + 1], '^(%d+) (%d+) ')
  local over = expires ~= '0' and tonumber(expires) <= now
  if over then
    redis.call('HDEL', KEYS[1], all[i])
  elseif not newest or tonumber(created) > tonumber(newest.created) then
    if newest and ARGV[3] == '1' then redis.call('HDEL', KEYS[1], newest.id) end
    newest = { id = all[i], created = created, expires = expires, value = all[i + 1] }
  elseif ARGV[3] == '1' then
    redis.call('HDEL', KEYS[1], all[i])
  end
end
if newest and ARGV[3] == '1' and newest.expires == '0' then
  local secret = string.match(newest.value, '(%S+)$')
  redis.call('HSET', KEYS[1], newest.id,
    string.format('%s %.0f %s', newest.created, now + ARGV[4], secret))
end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f 0 %s', now, ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return string.format('%.0f', now)
