-- End reservations: what was used instead of what was taken. One that is not open any more changes nothing.
--
-- KEYS: the open reservations, their content.
-- ARGV: for each reservation its id, the tokens it used and what it cost; with 'expired' as first argument instead, the
-- reservations whose lease is over, at nothing used.
-- Answer: how many were open.
local ids, used = {}, {}
if ARGV[1] == 'expired' then
  local time = redis.call('TIME')
  local now = string.format('%.0f', time[1] * 1000000 + time[2])
  ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 200)
  for i = 1, #ids do used[i] = {0, 0} end
else
  for i = 1, #ARGV, 3 do
    ids[#ids + 1], used[#used + 1] = ARGV[i], {tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])}
  end
end
if #ids == 0 then return 0 end

local contents = redis.call('HMGET', KEYS[2], unpack(ids))
redis.call('HDEL', KEYS[2], unpack(ids))
redis.call('ZREM', KEYS[1], unpack(ids))

-- Each scope is read and written once for all of them.
local scopes, changed, seen, ended = {}, {}, {}, 0
local function scope_of(key)
  if not scopes[key] then
    local kept, flat = {}, redis.call('HGETALL', key)
    for i = 1, #flat, 2 do kept[flat[i]] = flat[i + 1] end
    scopes[key], changed[key] = kept, {}
  end
  return scopes[key], changed[key]
end

for i, content in ipairs(contents) do
  if content and not seen[ids[i]] then
    seen[ids[i]] = true
    ended = ended + 1
    for _, of in ipairs(cmsgpack.unpack(content)) do
      local kept, fields = scope_of(of[1])
      for at = 2, #of, 3 do
        local kind, taken, window = of[at], of[at + 1], of[at + 2]
        if kept[kind] then
          local over = (kind == 'c' and 0 or kind == 's' and used[i][2] or used[i][1]) - taken
          -- a window that is over keeps nothing back; use beyond the reservation counts in the present one
          if kind == 'c' or tonumber(kept[kind .. 'e']) == window or over > 0 then
            kept[kind] = math.max(0, tonumber(kept[kind]) + over)
            fields[kind] = true
          end
        end
      end
    end
  end
end
for key, fields in pairs(changed) do
  local flat = {}
  for kind in pairs(fields) do
    flat[#flat + 1], flat[#flat + 2] = kind, string.format('%.0f', scopes[key][kind])
  end
  if #flat > 0 then redis.call('HSET', key, unpack(flat)) end
end
return ended
