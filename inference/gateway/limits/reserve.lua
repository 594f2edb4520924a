-- Decide over all gates of a request at once, and take its amounts from every one, or from none.
--
-- KEYS: the open reservations by the end of their lease (sorted set), their content (hash), then one key for each gate.
-- ARGV: the request's id, its lease in microseconds, then kind, limit and amount of each gate.
-- Answer: {1, then of each gate: what remains, microseconds until it is whole again} or
--         {0, the refusing gate's number, microseconds until it may pass (-1: never), then the same of each gate}.
-- The keys of reservations are read from their content, so this needs one server, not a cluster.
local id, lease = ARGV[1], tonumber(ARGV[2])

local gates, refused, retry = {}, 0, 0
for i = 3, #KEYS do
  local at = 3 + (i - 3) * 3
  local gate = {key = KEYS[i], kind = ARGV[at], limit = tonumber(ARGV[at + 1]), amount = tonumber(ARGV[at + 2])}
  local wait = 0
  if gate.kind == 'r' then
    -- GCRA: the theoretical arrival time moves on by one interval for each request; it may be a minute ahead.
    local interval = 60000000 / gate.limit
    local tat = math.max(tonumber(redis.call('GET', gate.key) or 0), now)
    gate.next = tat + interval * gate.amount
    wait = gate.next - now - 60000000
    if wait < 1 then wait = 0 end -- what is kept is rounded: a minute's last request must not fail by that
    gate.left = math.floor((60000000 - (tat - now)) / interval + 0.000001)
    gate.reset = tat - now
    gate.step = interval
  elseif gate.kind == 'c' then
    gate.used = redis.call('SCARD', gate.key)
    gate.left, gate.reset = gate.limit - gate.used, 0
    if gate.used + gate.amount > gate.limit then wait = 1000000 end
  else
    local ends
    gate.window, ends = window(gate.kind)
    local kept = redis.call('HMGET', gate.key, 'window', 'used')
    gate.used = tonumber(kept[1] or -1) == gate.window and tonumber(kept[2]) or 0
    gate.left, gate.reset, gate.ends = gate.limit - gate.used, ends - now, ends
    if gate.amount > gate.limit then wait = -1 elseif gate.used + gate.amount > gate.limit then wait = ends - now end
  end
  if retry ~= -1 and (wait == -1 or (wait > 0 and wait > retry)) then refused, retry = i - 2, wait end
  gates[#gates + 1] = gate
end

local answer = refused > 0 and {0, refused, math.ceil(retry)} or {1}
local held = {}
for _, gate in ipairs(gates) do
  if refused == 0 then
    if gate.kind == 'r' then
      redis.call('SET', gate.key, string.format('%.3f', gate.next), 'PX', math.ceil((gate.next - now) / 1000) + 1)
      gate.left, gate.reset = gate.left - gate.amount, gate.next - now
    elseif gate.kind == 'c' then
      redis.call('SADD', gate.key, id)
      gate.left = gate.left - gate.amount
      held[#held + 1] = {gate.key, gate.kind, 0, 0}
    else
      redis.call('HSET', gate.key, 'window', gate.window, 'used', string.format('%.0f', gate.used + gate.amount))
      redis.call('PEXPIREAT', gate.key, math.ceil(gate.ends / 1000) + 86400000)
      gate.left = gate.left - gate.amount
      held[#held + 1] = {gate.key, gate.kind, gate.amount, gate.window}
    end
  end
  answer[#answer + 1] = math.max(0, math.floor(gate.left))
  answer[#answer + 1] = math.max(0, math.ceil(gate.reset))
end
if refused == 0 then
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + lease), id)
  redis.call('HSET', KEYS[2], id, cmsgpack.pack(held))
end
return answer
