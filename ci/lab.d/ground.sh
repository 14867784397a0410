# shellcheck shell=bash disable=SC2034,SC2154
# The places of the lab, its messages, its bounds in time and its locks.

cache=${CMSIM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/cmsim}
lab=$cache/lab
state=$lab/state
from=${LAB_FROM:-v1.36.3}
to=${LAB_TO:-v1.37.2}
cluster=cmsim-lab
network=cmsim-lab
pod_network=10.244

say() { echo "lab: $*" >&2; }
failed() { say "FAILED: $*"; exit 1; }
wrong_call() { say "$*"; exit 2; }
# The machine cannot have what the lab needs: not a failure of what is tested, and not a success either.
skipped() { say "SKIPPED: $*"; exit 77; }

set -E
trap 'say "error in ${BASH_SOURCE[0]##*/} line $LINENO: $BASH_COMMAND"' ERR

bounded() { timeout -k 10 "$@"; }

# Runs one step and says how long it took. Not followed by `||`: that would have bash go on after an error within it.
timed() {
    local what=$1 began=$SECONDS
    shift
    "$@"
    say "$what: $((SECONDS - began)) s"
}

# alone FUNCTION ARGUMENT...: one build, up or down at a time.
alone() {
    mkdir -p "$lab"
    exec 9>"$lab/lock"
    flock -w 1800 9 || failed "another ci/lab holds $lab/lock"
    "$@"
    exec 9>&-
}

# A hash of files and words; what it names is built again when one of them changes.
key() { for one; do if [[ -f $one ]]; then cat "$one"; else echo "$one"; fi; done | sha256sum | cut -c 1-12; }

# built NAME KEY FUNCTION: the folder lab/NAME-KEY, filled by FUNCTION FOLDER unless it exists; others of the name go.
# Sets the variable `folder`.
built() {
    local name=$1 wanted=$lab/$1-$2 make=$3 old
    if [[ ! -d $wanted ]]; then
        for old in "$lab/$name"-*; do rm -rf "$old"; done
        mkdir "$wanted.part"
        timed "built $name" "$make" "$wanted.part"
        mv "$wanted.part" "$wanted"
    fi
    folder=$wanted
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds.
wait_for() {
    local limit=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        ((SECONDS < limit)) || { say "still waiting for $what"; return 1; }
        sleep 0.5
    done
}

# start NAME COMMAND...: a process of ours in the background, its id in state/NAME.pid, its output in state/log/NAME.
start() {
    local name=$1 place=${process_folder:-$state}
    shift
    mkdir -p "$place/log"
    setsid "$@" >"$place/log/$name" 2>&1 </dev/null 9>&- &
    local pid=$!
    # The start time tells the process from a later one with the same id.
    echo "$pid $(cut -d ' ' -f 22 "/proc/$pid/stat")" >"$place/$name.pid"
}

# running FILE: whether the process that the file names still runs.
running() {
    local pid since
    [[ -f $1 ]] && read -r pid since <"$1" && [[ -r /proc/$pid/stat ]] \
        && [[ $(cut -d ' ' -f 22 "/proc/$pid/stat") == "$since" ]]
}

stop() {
    local pid
    if running "$1"; then
        read -r pid _ <"$1"
        kill "$pid"
        wait_for 20 "the end of process $pid" not_running "$1" || kill -KILL "$pid"
    fi
    rm -f "$1"
}
not_running() { ! running "$1"; }
