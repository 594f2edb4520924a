-- What the scripts share that count in windows: Redis' own time, when a window ends, and how long a scope is kept. Put
-- before their text.
--
-- A scope (a tenant, a key, a model in a plan) is one hash. 'r' is the GCRA's theoretical arrival time and 'c' the requests
-- at once; of each window (m, d, M, s) the kind itself is what was used and 'kind .. "e"' when that window ends, in
-- microseconds, which names it. 'x' is when the key goes if nobody asks for it.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local DAY = 86400000000
local LONGEST = {m = 60000000, d = DAY, M = 32 * DAY, s = 32 * DAY}

-- The first day of the month after the one that holds a day (days since 1970). Gregorian calendar, counted from March as
-- Howard Hinnant's "chrono-compatible low-level date algorithms" do.
local function days_from_civil(y, m)
  if m <= 2 then y = y - 1 end
  local era = math.floor(y / 400)
  local yoe = y - era * 400
  local mp = m > 2 and m - 3 or m + 9
  local doy = math.floor((153 * mp + 2) / 5)
  return era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
end

local function next_month(day)
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local m = mp < 10 and mp + 3 or mp - 9
  local y = yoe + era * 400 + (m <= 2 and 1 or 0)
  if m == 12 then return days_from_civil(y + 1, 1) end
  return days_from_civil(y, m + 1)
end

local function window_end(kind)
  if kind == 'm' then return (math.floor(now / 60000000) + 1) * 60000000 end
  local day = math.floor(now / DAY)
  return (kind == 'd' and day + 1 or next_month(day)) * DAY
end

-- What a window holds, and when it ends: the one that is kept where it is not over. One that ends too late was begun by
-- a clock that was wrong.
local function window(kept, kind)
  local ends = tonumber(kept[kind .. 'e'])
  if ends and now < ends and ends - now <= LONGEST[kind] then return tonumber(kept[kind]), ends end
  return 0, window_end(kind)
end

local function read(key)
  local kept, flat = {}, redis.call('HGETALL', key)
  for i = 1, #flat, 2 do kept[flat[i]] = flat[i + 1] end
  return kept
end

-- Write fields of a scope, and keep it longer than any of its windows.
local function write(key, kept, fields)
  local until_ = tonumber(kept.x)
  local stays = until_ and until_ - now >= 33 * DAY
  if not stays then
    until_ = now + 66 * DAY
    fields[#fields + 1], fields[#fields + 2] = 'x', string.format('%.0f', until_)
  end
  redis.call('HSET', key, unpack(fields))
  if not stays then redis.call('PEXPIREAT', key, string.format('%.0f', until_ / 1000)) end
end

