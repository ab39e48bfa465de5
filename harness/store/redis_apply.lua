-- One write or merge of one document, looked at in the order that StateStore gives.
--
-- KEYS: the document (a hash), its operation ids (a sorted set: id -> the version it made).
-- ARGV: 1 operation id; 2 the version it needs, '' for a merge; 3 fencing token; 4 time to live in us, '' for none
--       given; 5 now in us, '' for the server's clock; 6 how long a tombstone is kept, in ms;
--       7.. 'd' and the value, or prefixed field names each with its value.
-- Hash:  v version, d value, t highest fencing token, e end of its life in us; fields are prefixed with '.'.
-- Reply: version * 4 + 0 done, 1 refused, 2 done before, 3 fenced. Values are never looked into.
local document, operations = KEYS[1], KEYS[2]
local found = redis.call('HMGET', document, 'v', 't', 'e')
local version = tonumber(found[1] or 0)

local now
if found[3] or ARGV[4] ~= '' then
  if ARGV[5] == '' then
    local clock = redis.call('TIME')
    now = clock[1] * 1000000 + clock[2]
  else
    now = tonumber(ARGV[5])
  end
end

local fence = tonumber(ARGV[3])
local newer = fence > tonumber(found[2] or 0)
if version > 0 then
  if found[3] and tonumber(found[3]) <= now then return version * 4 + 1 end
  if fence ~= 0 and fence < tonumber(found[2] or 0) then return version * 4 + 3 end
  local before = redis.call('ZSCORE', operations, ARGV[1])
  if before then return before * 4 + 2 end
end
if ARGV[2] ~= '' and tonumber(ARGV[2]) ~= version then return version * 4 + 1 end

version = version + 1
redis.call('HSET', document, 'v', version, ARGV[7] or 'v', ARGV[8] or version)
for at = 9, #ARGV, 2 do redis.call('HSET', document, ARGV[at], ARGV[at + 1]) end
if newer then redis.call('HSET', document, 't', ARGV[3]) end
redis.call('ZADD', operations, version, ARGV[1])
if version > 256 then redis.call('ZREMRANGEBYRANK', operations, 0, -257) end
if ARGV[4] ~= '' then
  redis.call('HSET', document, 'e', string.format('%.0f', now + ARGV[4]))
  local kept = string.format('%.0f', math.ceil(ARGV[4] / 1000) + ARGV[6])
  redis.call('PEXPIRE', document, kept)
  redis.call('PEXPIRE', operations, kept)
end
return version * 4
