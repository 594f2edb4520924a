-- End reservations: what was used instead of what was taken. One that is not open any more changes nothing.
--
-- KEYS: the open reservations, their content.
-- ARGV: for each reservation its id, the tokens it used and what it cost; with 'expired' as first argument instead, the
-- reservations whose lease is over, at nothing used.
-- Answer: how many were open.
local ended, time = 0, redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function settle(id, tokens, spend)
  local content = redis.call('HGET', KEYS[2], id)
  redis.call('ZREM', KEYS[1], id)
  if not content then return end
  redis.call('HDEL', KEYS[2], id)
  ended = ended + 1
  for _, gate in ipairs(cmsgpack.unpack(content)) do
    local key, kind, taken, window = gate[1], gate[2], gate[3], gate[4]
    if kind == 'c' then
      redis.call('SREM', key, id)
    else
      local kept = redis.call('HMGET', key, 'window', 'used')
      local used, over = tonumber(kept[2] or 0), (kind == 's' and spend or tokens) - taken
      -- a window that is over keeps nothing back; use beyond the reservation counts in the present one
      if kept[1] and (tonumber(kept[1]) == window or over > 0) then
        redis.call('HSET', key, 'used', string.format('%.0f', math.max(0, used + over)))
      end
    end
  end
end

if ARGV[1] == 'expired' then
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now), 'LIMIT', 0, 200)) do
    settle(id, 0, 0)
  end
else
  for i = 1, #ARGV, 3 do settle(ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])) end
end
return ended
