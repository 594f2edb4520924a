-- What the scripts share that count in windows: Redis' own time, and which window it lies in. Put before their text.
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local DAY = 86400000000

-- The first day of the month after the one that holds a day (days since 1970), and the month's number. Gregorian
-- calendar, counted from March as Howard Hinnant's "chrono-compatible low-level date algorithms" do.
local function days_from_civil(y, m)
  if m <= 2 then y = y - 1 end
  local era = math.floor(y / 400)
  local yoe = y - era * 400
  local mp = m > 2 and m - 3 or m + 9
  local doy = math.floor((153 * mp + 2) / 5)
  return era * 146097 + yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy - 719468
end

local function month_of(day)
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local m = mp < 10 and mp + 3 or mp - 9
  local y = yoe + era * 400 + (m <= 2 and 1 or 0)
  local next_y, next_m = m == 12 and y + 1 or y, m == 12 and 1 or m + 1
  return y * 12 + m, days_from_civil(next_y, next_m) * DAY
end

local function window(kind)
  if kind == 'm' then
    local number = math.floor(now / 60000000)
    return number, (number + 1) * 60000000
  end
  local day = math.floor(now / DAY)
  if kind == 'd' then return day, (day + 1) * DAY end
  return month_of(day)
end

