-- Put off the end of open reservations' leases. KEYS: the open reservations. ARGV: the lease in microseconds, then ids.
local time = redis.call('TIME')
local ends = string.format('%.0f', time[1] * 1000000 + time[2] + tonumber(ARGV[1]))
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], 'XX', ends, ARGV[i]) end
return #ARGV - 1
