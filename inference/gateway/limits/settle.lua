-- End reservations: what was used instead of what was taken. One that is not open any more changes nothing.
--
-- KEYS: the open reservations, their content.
-- ARGV: for each reservation its id, the tokens it used and what it cost; with 'expired' as first argument instead, the
-- reservations whose lease is over, at nothing used.
-- Answer: how many were open.
local ids, used = {}, {}
if ARGV[1] == 'expired' then
  ids = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, 200)
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
    scopes[key], changed[key] = read(key), {}
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
        local kind, taken, its = of[at], of[at + 1], of[at + 2]
        local over = (kind == 'c' and 0 or kind == 's' and used[i][2] or used[i][1]) - taken
        if kept[kind] and kind == 'c' then
          kept.c, fields.c = math.max(0, tonumber(kept.c) + over), true
        elseif kept[kind] then
          -- a window that is over keeps nothing back; use beyond the reservation counts in the present one
          local held, ends = window(kept, kind)
          if ends == its or over > 0 then
            kept[kind], kept[kind .. 'e'] = math.max(0, held + over), ends
            fields[kind], fields[kind .. 'e'] = true, true
          end
        end
      end
    end
  end
end
for key, fields in pairs(changed) do
  local flat = {}
  for name in pairs(fields) do
    flat[#flat + 1], flat[#flat + 2] = name, string.format('%.0f', scopes[key][name])
  end
  if #flat > 0 then redis.call('HSET', key, unpack(flat)) end
end
return ended
