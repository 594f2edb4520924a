-- Raise a window's counter to what the ledger says was used, where Redis lost it or never knew it.
--
-- KEYS: of each counter its scope. ARGV: of each counter its kind, when the window ends (microseconds), and what was used
-- in it.
-- Answer: how many were raised. A window that is over by now is left alone.
local raised = 0
for i = 1, #KEYS do
  local kind, ends, used = ARGV[i * 3 - 2], tonumber(ARGV[i * 3 - 1]), tonumber(ARGV[i * 3])
  local kept = read(KEYS[i])
  local counted, present = window(kept, kind)
  if present == ends and used > counted then
    write(KEYS[i], kept, {kind, string.format('%.0f', used), kind .. 'e', string.format('%.0f', ends)})
    raised = raised + 1
  end
end
return raised
