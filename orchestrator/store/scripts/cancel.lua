-- include: life
-- QUEUED or IN_PROGRESS -> CANCELED. ARGV: id, keep_ms.
-- Returns {1 if canceled now, state}; nothing: unknown.

local id = ARGV[1]
local state = redis.call('HGET', request_of(id), 'state')
if not state then return false end
if state ~= 'QUEUED' and state ~= 'IN_PROGRESS' then return { 0, state } end
tell('canceled', id)
finish(id, 'CANCELED', ARGV[2])
return { 1, 'CANCELED' }
