-- include: letter
-- ARGV: id. Returns the dead letter; nothing: it is none.

local moment = redis.call('ZSCORE', dead, ARGV[1])
return moment and letter_of(ARGV[1], moment) or false
