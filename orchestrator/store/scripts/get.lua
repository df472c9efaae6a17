-- include: record
-- ARGV: id. Returns the record; nothing: unknown.

return record_of(ARGV[1]) or false
