# Says how a job stands, as lines KEY=VALUE and the end of its log. In front of this stands `dir=`.
began() {
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    set -- ${stat##*) }
    # A zombie does nothing any more.
    [ "$1" != Z ] || return 1
    shift 19
    echo "$1"
}
state() {
    [ -d "$dir" ] || { echo state=absent; return; }
    tells=
    if [ ! -e "$dir/exit" ] && [ -e "$dir/attempt" ]; then
        pid=$(sed -n 's/^pid=//p' "$dir/attempt")
        if [ "$(sed -n 's/^boot=//p' "$dir/attempt")" != "$(cat /proc/sys/kernel/random/boot_id)" ]; then
            tells=rebooted
        elif [ "$(began "$pid")" = "$(sed -n 's/^began=//p' "$dir/attempt")" ]; then
            tells=running
        else
            tells=killed
        fi
    fi
    # It may have ended while it was looked at.
    if [ -e "$dir/exit" ]; then
        tells=ended
    fi
    echo "state=${tells:-absent}"
    sed -n 's/^since=/since=/p' "$dir/attempt" 2>/dev/null
    for name in exit failed current; do
        [ -e "$dir/$name" ] && echo "$name=$(cat "$dir/$name")"
    done
    echo log=
    tail -c 8000 "$dir/log" 2>/dev/null | tail -n 40
    return 0
}
