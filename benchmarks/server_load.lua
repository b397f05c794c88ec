-- wrk's script for server.py: sends the requests of a file one after the other, over and over.
-- A line of the file is a body. "@ID" in it becomes an id that no other request has.

local bodies, next_body, thread, sent = {}, 0, 0, 0
local threads = 0

function setup(t)
  threads = threads + 1
  t:set("thread", threads)
end

function init(args)
  for line in io.lines(args[1]) do bodies[#bodies + 1] = line end
  prefix = args[2] or "x"
  headers = { ["Content-Type"] = "application/json" }
end

function request()
  next_body = next_body % #bodies + 1
  sent = sent + 1
  local count = 0
  local body = bodies[next_body]:gsub("@ID", function()
    count = count + 1
    return prefix .. thread .. "-" .. sent .. "-" .. count
  end)
  return wrk.format("POST", nil, headers, body)
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "status": %d, "lost": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
