-- One document. KEYS: the document. ARGV: 1 now in us, '' for the server's clock;
-- 2 a fencing token to raise the document's to, '' to only read.
-- Reply: nil when there is none, its version when it expired, else its hash as one string: each name and each value
-- after its length in four bytes, big end first. A list would cost its reader more than all the rest.
local ends = redis.call('HGET', KEYS[1], 'e')
if ends then
  local now = tonumber(ARGV[1])
  if not now then
    local clock = redis.call('TIME')
    now = clock[1] * 1000000 + clock[2]
  end
  if tonumber(ends) <= now then return tonumber(redis.call('HGET', KEYS[1], 'v')) end
end
if ARGV[2] ~= '' then
  local found = redis.call('HMGET', KEYS[1], 'v', 't')
  if found[1] and tonumber(ARGV[2]) > tonumber(found[2] or 0) then redis.call('HSET', KEYS[1], 't', ARGV[2]) end
end
local found = redis.call('HGETALL', KEYS[1])
if #found == 0 then return false end
for at = 1, #found do found[at] = struct.pack('>I4', #found[at]) .. found[at] end
return table.concat(found)
