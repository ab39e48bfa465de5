-- Makes a document exactly what it is elsewhere, unless the one here is newer.
-- KEYS: the document, its operation ids. ARGV: 1 version; 2 fencing token; 3 now in us, '' for the server's clock;
--       4.. 'd' and the value, then prefixed field names each with its value.
-- The operation ids stay: they are of versions that are part of the newer one. So does a life that has not ended.
local found = redis.call('HMGET', KEYS[1], 'v', 'e')
if found[1] and tonumber(found[1]) > tonumber(ARGV[1]) then return 0 end
local ends = found[2]
if ends then
  local now = tonumber(ARGV[3])
  if not now then
    local clock = redis.call('TIME')
    now = clock[1] * 1000000 + clock[2]
  end
  if tonumber(ends) <= now then
    ends = false
    redis.call('PERSIST', KEYS[1])
    redis.call('PERSIST', KEYS[2])
  end
end
local kept = redis.call('PTTL', KEYS[1])
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'v', ARGV[1], 't', ARGV[2])
for at = 4, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1]) end
if ends then
  redis.call('HSET', KEYS[1], 'e', ends)
  redis.call('PEXPIRE', KEYS[1], kept)
end
return 1
