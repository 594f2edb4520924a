-- Decide over all gates of a request at once, and take its amounts from every one, or from none.
--
-- KEYS: the open reservations by the end of their lease (sorted set), their content (hash), then one for each scope.
-- ARGV: the request's id, its lease in microseconds, then of each gate its scope's number, kind, limit and amount; gates
-- of a scope stand together.
-- Answer: {1, then of each gate: what remains, microseconds until it is whole again} or
--         {0, the refusing gate's number, microseconds until it may pass (-1: never), then the same of each gate}.
-- The scopes of reservations are read from their content, so this needs one server, not a cluster.
local id = ARGV[1]
local scopes, changes, ends_of, answer = {}, {}, {}, {1}
local refused, retry, num = 0, 0, 0
for i = 3, #KEYS do scopes[i - 2], changes[i - 2] = read(KEYS[i]), {} end
for at = 3, #ARGV, 4 do
  local scope, kind, limit, amount = tonumber(ARGV[at]), ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local kept, fields = scopes[scope], changes[scope]
  local wait, left, reset = 0, 0, 0
  local n = #fields
  num = num + 1
  if kind == 'r' then
    -- GCRA: the theoretical arrival time moves on by one interval for each request; it may be a minute ahead.
    local interval = 60000000 / limit
    local tat = math.max(tonumber(kept.r or 0), now)
    if tat - now > 60000001 then tat = now end -- further ahead it was put by a clock that was wrong
    local next = tat + interval * amount
    wait = next - now - 60000000
    if wait < 1 then wait = 0 end -- what is kept is rounded: a minute's last request must not fail by that
    left, reset = (60000000 - (tat - now)) / interval + 0.000001, tat - now
    fields[n + 1], fields[n + 2] = 'r', string.format('%.3f', next)
    answer[num * 2], answer[num * 2 + 1] = math.floor(left) - amount, next - now
  elseif kind == 'c' then
    local used = tonumber(kept.c or 0)
    left = limit - used
    if used + amount > limit then wait = 1000000 end
    fields[n + 1], fields[n + 2] = 'c', used + amount
    answer[num * 2], answer[num * 2 + 1] = left - amount, 0
  else
    local used, ends = window(kept, kind)
    left, reset = limit - used, ends - now
    if amount > limit then wait = -1 elseif used + amount > limit then wait = reset end
    fields[n + 1], fields[n + 2] = kind, string.format('%.0f', used + amount)
    if tonumber(kept[kind .. 'e']) ~= ends then fields[n + 3], fields[n + 4] = kind .. 'e', string.format('%.0f', ends) end
    ends_of[num] = ends
    answer[num * 2], answer[num * 2 + 1] = left - amount, reset
  end
  if retry ~= -1 and (wait == -1 or (wait > 0 and wait > retry)) then refused, retry = num, wait end
  ends_of[-num] = {left, reset}
end

if refused > 0 then
  local told = {0, refused, math.ceil(retry)}
  for i = 1, num do
    told[#told + 1] = math.max(0, math.floor(ends_of[-i][1]))
    told[#told + 1] = math.max(0, math.ceil(ends_of[-i][2]))
  end
  return told
end
local held, last = {}, 0
for i = 1, num do
  local at = i * 4 - 1
  local scope, kind = tonumber(ARGV[at]), ARGV[at + 1]
  if kind ~= 'r' then
    if scope ~= last then
      held[#held + 1] = {KEYS[scope + 2]}
      last = scope
    end
    local of = held[#held]
    of[#of + 1], of[#of + 2], of[#of + 3] = kind, tonumber(ARGV[at + 3]), ends_of[i] or 0
  end
  answer[i * 2], answer[i * 2 + 1] = math.max(0, answer[i * 2]), math.max(0, math.ceil(answer[i * 2 + 1]))
end
for i = 3, #KEYS do write(KEYS[i], scopes[i - 2], changes[i - 2]) end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[2]), id)
redis.call('HSET', KEYS[2], id, cmsgpack.pack(held))
return answer
