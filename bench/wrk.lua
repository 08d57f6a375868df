-- What wrk sends. wrk.go sets the variables; each thread of wrk has a Lua of its own.
local before, after = os.getenv("BENCH_BEFORE"), os.getenv("BENCH_AFTER")
local kind, stem = os.getenv("BENCH_KEYS"), os.getenv("BENCH_STEM")
local threads = 0

function setup(thread)
   -- One address for each thread, in turn.
   local addresses = {}
   for host, port in os.getenv("BENCH_ADDRESSES"):gmatch("([^:,]+):(%d+)") do
      addresses[#addresses + 1] = wrk.lookup(host, port)[1]
   end
   thread.addr = addresses[threads % #addresses + 1]
   thread:set("id", threads)
   threads = threads + 1
end

function init()
   local n, keys = 0, {}
   if kind == "none" then
      request = function() return before .. after end
   elseif kind == "fresh" then
      -- The stem has the time and 36 random bits; thread and number make it unique within the run.
      request = function()
         n = n + 1
         return string.format("%s%s%02x%010x%s", before, stem, id, n, after)
      end
   else
      for key in io.lines(kind) do keys[#keys + 1] = key end
      math.randomseed(os.time() + id)
      request = function() return before .. keys[math.random(#keys)] .. after end
   end
end

function done(summary, latency)
   local e = summary.errors
   io.write(string.format('\nBENCH {"requests":%d,"micros":%d,"p50":%d,"p90":%d,"p99":%d,"p999":%d,"max":%d,"broken":%d,"refused":%d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(90), latency:percentile(99),
      latency:percentile(99.9), latency.max, e.connect + e.read + e.write + e.timeout, e.status))
end
