-- Submits an exact number of asynchronous requests over wrk's connections and, where it is told
-- to, reads every result by long polling, in the order of submission, until all have ended.
--
-- wrk ... -s async_load.lua URL -- JOBS BODY results|nothing
--
-- Prints one line, `async-load-result {...}`; times are seconds of CLOCK_MONOTONIC.

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long tv_sec; long tv_nsec; } benchmark_time;
  int clock_gettime(int clock, benchmark_time *time);
  int getpid(void);
  int kill(int process, int signal);
]]
local CLOCK_MONOTONIC, SIGINT = 1, 2
local LONGEST_WAIT_S = 30
local time = ffi.new("benchmark_time")

local function now()
  ffi.C.clock_gettime(CLOCK_MONOTONIC, time)
  return tonumber(time.tv_sec) + tonumber(time.tv_nsec) / 1e9
end

-- In wrk's main state: the one thread, whose globals `done` reads.
function setup(thread)
  the_thread = thread
end

function init(arguments)
  jobs, reading = tonumber(arguments[1]), arguments[3] == "results"
  submission = wrk.format("POST", nil, { ["Content-Type"] = "application/json" }, arguments[2])
  -- wrk calls `request` once before it connects, to look at what it gives.
  submitted, accepted, ended, asked = -1, 0, 0, 0
  ids, pending = {}, {}
  began, all_accepted, finished, refused = 0, 0, 0, ""
end

-- wrk sleeps for the whole of its duration unless it is interrupted, as with Ctrl-C.
local function finish()
  finished = now()
  wrk.thread:stop()
  ffi.C.kill(ffi.C.getpid(), SIGINT)
end

local function question(id)
  return wrk.format("GET", "/async_request/" .. id .. "?wait=" .. LONGEST_WAIT_S)
end

function request()
  if submitted < jobs then
    if submitted == 0 then began = now() end
    submitted = submitted + 1
    return submission
  end
  if asked < #ids and reading then
    asked = asked + 1
    return question(ids[asked])
  end
  -- Nothing is left for this connection to do but to ask again for what has not ended.
  local id = next(pending)
  return question(id or ids[1] or "none")
end

function response(status, _headers, body)
  if finished > 0 then return end
  if status == 201 then
    local id = body:match('"request_id"%s*:%s*"([^"]+)"')
    accepted = accepted + 1
    ids[accepted], pending[id] = id, true
    if accepted == jobs then
      all_accepted = now()
      if not reading then finish() end
    end
  elseif status == 200 then
    local id = body:match('"request_id"%s*:%s*"([^"]+)"')
    local state = body:match('"status"%s*:%s*"([%u_]+)"')
    if state == "SUCCEEDED" then
      if pending[id] then
        pending[id], ended = nil, ended + 1
        if ended == jobs then finish() end
      end
    elseif state ~= "QUEUED" and state ~= "IN_PROGRESS" then
      refused = body
      finish()
    end
  elseif accepted < jobs or reading then
    refused = status .. " " .. body
    finish()
  end
end

function done(summary, _latency, _requests)
  local seen = function(name) return the_thread:get(name) end
  local errors = summary.errors.connect + summary.errors.read + summary.errors.write
  io.write(string.format(
    'async-load-result {"accepted": %d, "ended": %d, "began": %.6f, "all_accepted": %.6f, ' ..
    '"finished": %.6f, "socket_errors": %d}\n',
    seen("accepted"), seen("ended"), seen("began"), seen("all_accepted"), seen("finished"), errors
  ))
  if seen("refused") ~= "" then io.write("refused: ", seen("refused"):sub(1, 500), "\n") end
end
