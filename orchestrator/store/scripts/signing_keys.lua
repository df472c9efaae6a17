-- KEYS[1]: as signing_key_add.lua has it. Returns {now, id, value, id, value...}.

local clock = redis.call('TIME')
return { clock[1] * 1000000 + clock[2], unpack(redis.call('HGETALL', KEYS[1])) }
