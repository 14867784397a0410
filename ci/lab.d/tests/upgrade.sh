# shellcheck shell=bash disable=SC2034,SC2154
# cmsim upgrades the lab for real, under load: what it foretells is what happens. Needs a lab that nobody has upgraded yet.
begin_suite upgrade
need_cmsim
json() { python3 -c 'import json, sys; d = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$results/${2:-check.json}" "$1"; }
is() { local got; got=$(json "$1"); echo "$1 is $got, wanted $2"; [[ $got == "$2" ]]; }
start_load() { start "load-$1" python3 "$parts/load.py" "http://127.0.0.1:$2/" "$results/load-$1"; }
end_load() { stop "$state/load-$1.pid"; tail -n 1 "$results/load-$1"; }
failed_requests() { tail -n 1 "$results/load-$1" | sed 's/.*, \([0-9]*\) failed/\1/'; }
# How long requests failed: from the beginning of the first to that of the last of each bundle of failures.
failed_seconds() {
    grep -v '^#' "$results/load-$1" | sort -n | awk '
        NR == 1 || $1 - last >= 0.5 { total += last - first; first = $1 }
        { last = $1 }
        END { printf "%.3f\n", total + last - first }' || true
}
show_status() { "$program" status --kubeconfig "$state/kubeconfig" >"$results/$1.status"; }
none_failed() { head -3 "$results/load-$1"; [[ $(failed_requests "$1") == 0 ]]; }
some_failed() { tail -1 "$results/load-$1"; (($(failed_requests "$1") > 0)); }
within() { # NAME SECONDS
    echo "$(failed_seconds "$1") s with failures, foretold $2"; python3 -c 'import sys; sys.exit(float(sys.argv[1]) > float(sys.argv[2]))' "$(failed_seconds "$1")" "$2"
}
# Column 3 of the recap is what was foretold, column 2 what was seen.
kept_predictions() { awk '/^ *WORKLOAD/ { in_table = 1; next } in_table && NF == 3 { print; if ($2 < $3) bad = 1 } END { exit bad }' "$results/second.out"; }
restored() {
    local snapshot=$results/snapshot.db restore=$results/restore port=23790 pid count
    over_ssh "root@$first" 'cat "$(ls -1d /var/backups/cmsim/2*Z | tail -n 1)/etcd-snapshot.db"' >"$snapshot" || return
    rm -rf "$restore"
    "$from_bin/etcdutl" snapshot restore "$snapshot" --data-dir "$restore" || return
    "$from_bin/etcd" --data-dir "$restore" --listen-client-urls http://127.0.0.1:$port --advertise-client-urls http://127.0.0.1:$port \
        --listen-peer-urls http://127.0.0.1:$((port + 1)) >"$results/etcd.log" 2>&1 &
    pid=$!
    wait_for 30 etcd "$from_bin/etcdctl" --endpoints http://127.0.0.1:$port endpoint health
    count=$("$from_bin/etcdctl" --endpoints http://127.0.0.1:$port get --prefix --keys-only /registry/deployments/shop/ | grep -c /)
    kill "$pid"
    wait "$pid"
    echo "$count Deployments of shop in the snapshot"
    [[ $count == 4 ]]
}

at_version "$from" || failed "the nodes are not at $from any more: ci/lab down && ci/lab test upgrade"
build_binaries
apply_apps web abrupt single blocked
for port in 18080 18081 18082 18083; do wait_for 30 "the proxy" curl -fsS "http://127.0.0.1:$port/"; done
sleep 5

check "facts of all hosts" bash -c '"${@:1}" >"$0/hosts.yaml"' "$results" "$program" facts --kubeconfig "$state/kubeconfig" "${ssh_flags[@]}"
check "check on the live cluster ends with 1" ends_with 1 bash -c '"${@:1}" >"$0/check.json"' "$results" \
    "$program" check "${cluster_flags[@]}" --hosts "$results/hosts.yaml" --drain-timeout 90s -o json
# Which of the two comes first depends on where the scheduler has put the pods.
check "check says disruptive or blocked" is 'd["verdict"] in ("disruptive", "blocked")' True
check "check names single" is 'any(f["object"] == "shop/Deployment/single" for f in d["findings"])' True
check "check says that it does not finish, by the pod of blocked" is 'any(p["pod"].startswith("shop/Pod/blocked-") for n in d["nodes"] for p in n["blockedPods"])' True
check "check puts requests to abrupt at risk" is '[s["requestsAtRiskSeconds"] > 0 for s in d["services"] if s["name"] == "abrupt"]' '[True]'
check "check puts no request to web at risk" is '[s["requestsAtRiskSeconds"] for s in d["services"] if s["name"] == "web"]' '[0.0]'
check "apply is refused while disruptions are not accepted" ends_with 1 run_apply refused
check "apply changes nothing then" untouched
accept=(--even-if-blocked --accept-disruption shop/Deployment/single --accept-disruption shop/Service/single)
for name in web:18080 abrupt:18081 single:18082; do start_load "${name%:*}" "${name#*:}"; done
check "apply stops at the pod that blocks" ends_with 1 run_apply first "${accept[@]}"
check "and names it" grep -q '^stopped: .*shop/Pod/blocked-' "$results/first.err"
check "status says that it has stopped, and why" ends_with 1 show_status stopped
check "in words, too" grep -q 'shop/Pod/blocked-' "$results/stopped.status"
kube -n shop patch poddisruptionbudget blocked --type=merge -p '{"spec":{"minAvailable":null,"maxUnavailable":1}}' >/dev/null
sleep 3
bounded 120 "$program" check "${cluster_flags[@]}" --drain-timeout 90s -o json >"$results/after.json" || true
check "check says disruptive then, unless single has moved already" \
    grep -Eq '"verdict": "(disruptive|non-disruptive)"' "$results/after.json"
check "the same command goes on to the end" ends_with 0 run_apply second "${accept[@]}"
for name in web abrupt single; do echo "        $name: $(end_load "$name"), $(failed_seconds "$name") s with failures"; done
check "every node runs $to" at_version "$to"
check "status says that it is done" ends_with 0 show_status done
check "every event of the journal is one that the model allows" ends_with 0 bounded 300 "$program" conform journal "$results"/own/cmsim/*.jsonl
"$program" conform journal "$results"/own/cmsim/*.jsonl | sed 's/^/        /' | head -30
check "no request to web failed" none_failed web
check "requests to single failed, as foretold" some_failed single
# Each of the two runs had its forecast.
at_risk='sum(s["requestsAtRiskSeconds"] for s in d["services"] if s["name"] == "abrupt")'
check "requests to abrupt failed" some_failed abrupt
check "but not for longer than foretold" within abrupt "$(python3 -c "print($(json "$at_risk") + $(json "$at_risk" after.json))")"
check "no workload had fewer ready pods than foretold" kept_predictions
check "the backup's snapshot holds the objects" restored
end_suite
