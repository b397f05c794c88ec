-- wrk's script for server.py: sends the requests of a file one after the other, over and over.
-- A line of the file is a body, after a path and a tab where it goes to another path than the
-- one of the command line. "@ID" in it becomes an id that no other request has.

local bodies, next_body, thread, sent = {}, 0, 0, 0
local threads = 0

function setup(t)
  threads = threads + 1
  t:set("thread", threads)
end

function init(args)
  prefix = args[2] or "x"
  headers = { ["Content-Type"] = "application/json" }
  for line in io.lines(args[1]) do
    -- Made once where nothing changes: a server is not to wait for its client.
    local whole = not line:find("@ID", 1, true)
    local path, body = line:match("^([^\t{]+)\t(.*)")
    bodies[#bodies + 1] = whole and wrk.format("POST", path, headers, body or line) or line
    changes = not whole
  end
end

local function with_ids(body)
  local count = 0
  return body:gsub("@ID", function()
    count = count + 1
    return prefix .. thread .. "-" .. sent .. "-" .. count
  end)
end

function request()
  next_body = next_body % #bodies + 1
  sent = sent + 1
  local body = bodies[next_body]
  return changes and wrk.format("POST", nil, headers, (with_ids(body))) or body
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %d, "microseconds": %d, "p50": %d, "p99": %d, "status": %d, "lost": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
