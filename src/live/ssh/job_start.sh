# Starts the job in $job, if it was not started before. In front of this stand dir, unit, again, job, and job_state.sh.
die() {
    echo "$*" >&2
    exit 1
}
umask 077
mkdir -p "${dir%/*}" || die "cannot make ${dir%/*}"
# One at a time; the lock is gone with the process that holds it.
exec 9>"$dir.lock"
flock -w 30 9 || die "somebody else is starting this job"
# The folder appears whole, and once.
if [ ! -d "$dir" ]; then
    new=$dir.new.$$
    mkdir "$new" "$new/steps" && printf '%s' "$job" >"$new/job.sh" || die "cannot write $new"
    sync "$new/job.sh" 2>/dev/null || sync
    mv -T "$new" "$dir" 2>/dev/null || rm -rf "$new"
    [ -e "$dir/job.sh" ] || die "cannot write $dir"
fi
now=$(state)
if [ "$again" = 1 ]; then
    case $now in
    state=rebooted* | state=killed* | state=ended*)
        if [ "$(cat "$dir/exit" 2>/dev/null)" != 0 ]; then
            printf '%s' "$job" >"$dir/job.sh.new" && mv -f "$dir/job.sh.new" "$dir/job.sh" || die "cannot write $dir"
            # The guard goes last: until then it is the old attempt that has ended.
            rm -f "$dir/exit" "$dir/failed"
            mv -f "$dir/attempt" "$dir/attempt.before" || die "cannot write $dir"
            now=state=absent
        fi
        ;;
    esac
else
    printf '%s' "$job" | cmp -s - "$dir/job.sh" || die "a job of this name with other content is there already: $dir"
fi
if [ "${now%%
*}" = state=absent ]; then
    # A log-in session may end everything that was begun in it; systemd's own services outlive it.
    [ -d /run/systemd/system ] && [ "$(id -u)" = 0 ] && command -v systemd-run >/dev/null &&
        systemd-run --quiet --collect --unit="$unit-$$" --property=KillMode=mixed --setenv=PATH="$PATH" \
            /bin/sh "$dir/job.sh" >"$dir/launch" 2>&1 9>&- ||
        setsid nohup /bin/sh "$dir/job.sh" >"$dir/launch" 2>&1 </dev/null 9>&- &
    tries=0
    until [ -e "$dir/attempt" ] || [ "$tries" -ge 100 ]; do
        tries=$((tries + 1))
        sleep 0.1
    done
    [ -e "$dir/attempt" ] || die "the job does not start: $(cat "$dir/launch")"
fi
state
