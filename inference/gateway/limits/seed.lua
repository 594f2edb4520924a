-- Raise a window's counter to what the ledger says was used, where Redis lost it or never knew it.
--
-- KEYS: one for each gate. ARGV: of each gate its kind, the window's number, and what was used in it.
-- Answer: how many were raised. A window that is over by now is left alone.
local raised = 0
for i = 1, #KEYS do
  local kind, number, used = ARGV[i * 3 - 2], tonumber(ARGV[i * 3 - 1]), tonumber(ARGV[i * 3])
  local present, ends = window(kind)
  local kept = redis.call('HMGET', KEYS[i], 'window', 'used')
  local counted = tonumber(kept[1] or -1) == number and tonumber(kept[2]) or 0
  if present == number and used > counted then
    redis.call('HSET', KEYS[i], 'window', number, 'used', string.format('%.0f', used))
    redis.call('PEXPIREAT', KEYS[i], math.ceil(ends / 1000) + 86400000)
    raised = raised + 1
  end
end
return raised
