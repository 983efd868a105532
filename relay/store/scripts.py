"""The Lua that Redis runs: one script for each decision, so that nothing comes between looking and taking.

KEYS[1] is the beginning of all of a tenant's keys; it has the tenant's hash tag, so they lie in one slot of a cluster.
Only the server's clock counts. Every key that is written gets a time to live. Commands are those that Valkey has too.
"""

_PRELUDE = """
local prefix = KEYS[1]
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000

-- Howard Hinnant, "chrono-compatible date algorithms"
local days = math.floor(now / 86400) + 719468
local era = math.floor(days / 146097)
local doe = days - era * 146097
local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
local shifted = math.floor((5 * doy + 2) / 153)
local month = shifted + (shifted < 10 and 3 or -9)
local year = yoe + era * 400 + (month <= 2 and 1 or 0)
local this_month = string.format('%04d-%02d', year, month)
local today = string.format('%s-%02d', this_month, doy - math.floor((153 * shifted + 2) / 5) + 1)

local MEASURES = {'tokens', 'audio_ms', 'nanos'}
local spent_key = {day = prefix .. 'spent:' .. today, month = prefix .. 'spent:' .. this_month}

-- As texts: a number of Lua is exact to 2^53 only.
local function spent(window)
  local amounts = redis.call('HMGET', spent_key[window], unpack(MEASURES))
  for index = 1, #MEASURES do amounts[index] = amounts[index] or '0' end
  return amounts
end

local function answer(cause, retry_after)
  local day, month = spent('day'), spent('month')
  return {cause, tostring(retry_after), string.format('%.6f', now),
    day[1], day[2], day[3], month[1], month[2], month[3]}
end
"""

ADMIT = (
    _PRELUDE
    + """
local ask = cjson.decode(ARGV[1])
local places, starts = prefix .. 'places', prefix .. 'starts'
if tonumber(redis.call('ZSCORE', places, ask.session) or '0') > now then return answer('', 0) end
local recent = '(' .. string.format('%.6f', now - ask.start_window)
-- Nothing is written before all was looked at: a server without memory refuses only a script's first write.
if ask.concurrent >= 0 and redis.call('ZCOUNT', places, now, '+inf') >= ask.concurrent then
  return answer('concurrent_sessions', 0)
end
if ask.starts >= 0 and redis.call('ZCOUNT', starts, recent, '+inf') >= ask.starts then
  local oldest = redis.call('ZRANGEBYSCORE', starts, recent, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return answer('starts_per_minute', oldest[2] and oldest[2] + ask.start_window - now or ask.start_window)
end
for _, allowance in ipairs(ask.allowances) do
  if tonumber(spent(allowance.window)[allowance.measure]) >= allowance.limit then
    return answer('budget:' .. allowance.window, 0)
  end
end
redis.call('ZADD', places, now + ask.lease, ask.session)
redis.call('ZREMRANGEBYSCORE', places, '-inf', now)
redis.call('PEXPIRE', places, math.ceil(ask.lease * 1000))
if ask.starts >= 0 then
  redis.call('ZADD', starts, now, ask.session)
  redis.call('ZREMRANGEBYSCORE', starts, '-inf', now - ask.start_window)
  redis.call('PEXPIRE', starts, math.ceil(ask.start_window * 1000))
end
return answer('', 0)
"""
)
"""ARGV[1]: the `Ask` as JSON; -1 is no limit. Returns cause, seconds to wait, the clock and the six totals."""

SETTLE = (
    _PRELUDE
    + """
local message = cjson.decode(ARGV[1])
local keep = math.ceil(message.keep * 1000)
for _, charge in ipairs(message.charges) do
  local session = prefix .. 'session:' .. charge.session
  local known = redis.call('HGET', session, '#sequence')
  if charge.sequence > tonumber(known or '0') then
    local day = prefix .. 'day:' .. today .. ':' .. charge.model
    for name, amount in pairs(charge.amounts) do
      local added = amount - tonumber(redis.call('HGET', session, name) or '0')
      if added > 0 then
        local text = string.format('%.0f', added)
        redis.call('HINCRBY', session, name, text)
        redis.call('HINCRBY', day, name, text)
        if name == 'tokens' or name == 'audio_ms' or name == 'nanos' then
          redis.call('HINCRBY', spent_key.day, name, text)
          redis.call('HINCRBY', spent_key.month, name, text)
        end
      end
    end
    redis.call('HSET', session, '#sequence', string.format('%.0f', charge.sequence))
    redis.call('ZADD', prefix .. 'sessions', charge.started_at, charge.session)
    redis.call('ZREMRANGEBYSCORE', prefix .. 'sessions', '-inf', now - message.keep)
    redis.call('SADD', prefix .. 'models', charge.model)
    for _, key in ipairs({session, day, prefix .. 'sessions', prefix .. 'models'}) do
      redis.call('PEXPIRE', key, keep)
    end
    redis.call('PEXPIRE', spent_key.day, 2 * 86400000)
    redis.call('PEXPIRE', spent_key.month, 32 * 86400000)
  end
end
local places = prefix .. 'places'
for _, session in ipairs(message.live) do
  redis.call('ZADD', places, now + message.lease, session)
end
if #message.live > 0 then redis.call('PEXPIRE', places, math.ceil(message.lease * 1000)) end
return answer('', 0)
"""
)
"""ARGV[1]: charges and live sessions of one tenant as JSON. Returns what `ADMIT` returns."""
