# What the scripts of this folder share; to be sourced, from the root of the repository. Whoever
# sources it has a folder `scratch` and may start processes with `started`; both are gone when the
# script ends, however it ends. Everything listens on loopback.

tool=$(basename "$0")
build=${HOLDFAST_BUILD:-build/release}
scratch=$(mktemp -d)
children=()

fail() {
  echo "$tool: $*" >&2
  exit 1
}

# The outputs of what was started, for a failure that they may explain.
show_outputs() {
  local file
  for file in "$scratch"/output.*; do
    [ ! -s "$file" ] || tail -n 20 "$file" >&2
  done
}

clean_up() {
  stop "${children[@]}"
  rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- processes -----------------------------------------------------------------------------------

# A proxy under test has CPUs of its own where there are enough; what loads and serves has the others.
cpus=$(nproc)
if [ "$cpus" -eq 1 ]; then
  one_cpu=0 two_cpus=0 other_cpus=0
elif [ "$cpus" -le 3 ]; then
  one_cpu=0 two_cpus=0,1 other_cpus=1-$((cpus - 1))
else
  one_cpu=0 two_cpus=0,1 other_cpus=2-$((cpus - 1))
fi

# started CPUS COMMAND...: leaves the process's id in `started`. It ends with this script, even where
# that is killed. Not for subshells: a process is ended by the end of the shell that started it.
started() {
  local on=$1
  shift
  setpriv --pdeathsig TERM taskset --cpu-list "$on" "$@" \
    >"$scratch/output.${#children[@]}" 2>&1 </dev/null &
  started=$!
  children+=("$started")
}

# What the process that was started last has printed.
output_of_last() { echo "$scratch/output.$((${#children[@]} - 1))"; }

# stop ID...: ends processes and waits until they are gone; what does not end within 2 s is killed.
stop() {
  local id
  [ $# -gt 0 ] || return 0
  kill "$@" 2>/dev/null || true
  for id in "$@"; do
    for _ in {1..100}; do
      kill -0 "$id" 2>/dev/null || break
      sleep 0.02
    done
    kill -KILL "$id" 2>/dev/null || true
    wait "$id" 2>/dev/null || true
  done
}

# family ID: the process and its children.
family() {
  echo "$1" $(cat "/proc/$1/task/$1/children" 2>/dev/null)
}

# cpu_of ID...: user and system time of these processes so far, in nanoseconds. The scheduler's own
# account is exact once a process sleeps; the ticks of /proc/PID/stat, where it is not kept, are 10 ms.
cpu_of() {
  local id
  if [ -r /proc/self/schedstat ]; then
    for id in "$@"; do cat "/proc/$id/task"/*/schedstat; done | awk '{ n += $1 } END { printf "%.0f", n }'
  else
    for id in "$@"; do cat "/proc/$id/stat"; done | awk -v hz="$(getconf CLK_TCK)" '
      { sub(/.*\) /, ""); n += ($12 + $13) * 1e9 / hz } END { printf "%.0f", n }'
  fi
}

# waited_of ID...: how long their threads could have run and had no CPU, in nanoseconds; 0 if unknown.
waited_of() {
  local id
  [ -r /proc/self/schedstat ] || { echo 0; return; }
  for id in "$@"; do cat "/proc/$id/task"/*/schedstat; done | awk '{ n += $2 } END { printf "%.0f", n }'
}

# resident_of ID...: resident memory in KiB, what they share counted for each of them.
resident_of() {
  local id
  for id in "$@"; do cat "/proc/$id/status"; done | awk '/^VmRSS/ { n += $2 } END { print n }'
}

# --- ports ---------------------------------------------------------------------------------------

# Below the range that the kernel takes clients' ports from; at random, since others may measure too.
next_port=$((20000 + RANDOM % 10000))

# take_port VARIABLE: a port nobody listens on.
take_port() {
  next_port=$((next_port + 1))
  while (exec 3<>"/dev/tcp/127.0.0.1/$next_port") 2>/dev/null; do next_port=$((next_port + 1)); done
  printf -v "$1" %d "$next_port"
}

# eventually WHAT COMMAND...: until it succeeds, for at most a minute.
eventually() {
  local what=$1 deadline=$((SECONDS + 60))
  shift
  while [ "$SECONDS" -lt "$deadline" ]; do
    if "$@" 2>/dev/null; then return 0; fi
    sleep 0.05
  done
  show_outputs
  fail "$what"
}

connects() { (exec 3<>"/dev/tcp/127.0.0.1/$1"); }

answers_200() (
  exec 3<>"/dev/tcp/127.0.0.1/$1"
  printf 'GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
  read -r -t 2 -u 3 _ status _ && [ "$status" = 200 ]
)

tls_answers_200() {
  [ "$(curl --silent --insecure --max-time 2 --output /dev/null --write-out '%{http_code}' \
    "https://127.0.0.1:$1/")" = 200 ]
}

listens() { eventually "nothing listens on port $1" connects "$1"; }
# answers PORT [COMMAND]
answers() { eventually "no answer of 200 on port $1" "${2:-answers_200}" "$1"; }

# --- load ----------------------------------------------------------------------------------------

# wrk_result PORT CONNECTIONS SECONDS SCRIPT TARGET [ARGUMENT...]: one load by one thread; prints
# requests, bad answers, requests a second, p50 and p99 in milliseconds. The URL begins with `scheme`.
scheme=http
wrk_result() {
  taskset --cpu-list "$other_cpus" wrk -t1 -c"$2" -d"$3s" --timeout 5s -s "loadtest/wrk/$4" \
    "$scheme://127.0.0.1:$1$5" -- "${@:6}" | result_in
}

# handshakes_result PORT SECONDS new|reuse: a connection, a TLS handshake and a GET, again and again,
# by one client. As wrk_result, without percentiles; a handshake of the other kind is a bad answer.
handshakes_result() {
  local began letter='*'
  [ "$3" = new ] || letter=r
  began=$(date +%s%N)
  taskset --cpu-list "$other_cpus" openssl s_time -connect "127.0.0.1:$1" -www / "-$3" -time "$2" \
    >"$scratch/handshakes" 2>&1 || true
  awk -v letter="$letter" -v seconds="$(awk -v n=$(($(date +%s%N) - began)) 'BEGIN { print n / 1e9 }')" '
    / real seconds/ { requests = $1 }
    /^[*rt]+$/ { right = gsub(letter == "*" ? "[*]" : letter, "") }
    END { printf "%d %d %.0f 0 0\n", requests, requests - right, requests / seconds }' "$scratch/handshakes"
}

# The figures of a load's last line; what was bad is told on stderr, at once.
result_in() { sed -n -e '/^bad: /w /dev/stderr' -e 's/^result //p'; }
