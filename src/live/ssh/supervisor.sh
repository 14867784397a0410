# The supervisor of a job, on the host. In front of this stand `dir=` and behind it calls of `step` and `finish`.
# Files in $dir: job.sh (this), attempt (guard of the running attempt: boot, pid, start), steps/NAME.{begun,done},
# current, failed (step and code), exit (code of the whole), log.
PATH="${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin"
LC_ALL=C
HOME="${HOME:-/root}"
export PATH LC_ALL HOME
umask 022
cd / || exit 1

# A file that is there whole or not at all, and survives the power.
keep() {
    printf '%s\n' "$2" >"$dir/$1.new" && mv -f "$dir/$1.new" "$dir/$1" && { sync "$dir/$1" "$dir" 2>/dev/null || sync; }
}

# What the kernel says of when a process began: tells it from a later one of the same id.
began() {
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The name stands in brackets and may hold anything.
    set -- ${stat##*) }
    shift 19
    echo "$1"
}

# Only one attempt at a time: a hard link is made once, and its content is there from the beginning.
printf 'boot=%s\npid=%s\nbegan=%s\nsince=%s\n' \
    "$(cat /proc/sys/kernel/random/boot_id)" "$$" "$(began $$)" "$(date +%s)" >"$dir/attempt.$$" || exit 1
ln "$dir/attempt.$$" "$dir/attempt" 2>/dev/null || { rm -f "$dir/attempt.$$"; exit 0; }
rm -f "$dir/attempt.$$"
exec >>"$dir/log" 2>&1 </dev/null

say() {
    echo "[cmsim $(date -u +%Y-%m-%dT%H:%M:%SZ)] $*"
}

finish() {
    say "end of the job: $1"
    keep exit "$1"
    exit "$1"
}

fail() { # step code
    keep failed "$1 $2"
    finish 1
}

step() { # name once timeout check run verify
    [ -e "$dir/steps/$1.done" ] && return 0
    keep current "$1"
    if [ -n "$4" ] && (timeout -k 10 "$3" /bin/sh -eu -c "$4") >/dev/null 2>&1; then
        say "$1: is done already"
        keep "steps/$1.done" checked
        return 0
    fi
    if [ "$2" = once ] && [ -e "$dir/steps/$1.begun" ]; then
        say "$1: was interrupted, and must not run twice; once it is known to be done: touch $dir/steps/$1.done"
        fail "$1" 75
    fi
    keep "steps/$1.begun" "$(date +%s)"
    say "$1: begins"
    timeout -k 10 "$3" /bin/sh -eu -c "$5"
    code=$?
    case $code in
    0) ;;
    124 | 137) say "$1: did not end within $3 s" ; fail "$1" "$code" ;;
    *) say "$1: failed with exit code $code" ; fail "$1" "$code" ;;
    esac
    if [ -n "$6" ]; then
        until=$(($(date +%s) + $3))
        until timeout -k 10 "$3" /bin/sh -eu -c "$6"; do
            code=$?
            if [ "$(date +%s)" -ge "$until" ]; then
                say "$1: ran, but its verification still fails with exit code $code"
                fail "$1" "$code"
            fi
            sleep 1
        done
    fi
    keep "steps/$1.done" ran
    say "$1: done"
}

say "job begins"
