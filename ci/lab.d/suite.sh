# shellcheck shell=bash disable=SC2034,SC2154
# What the lab's tests share: a line for each thing that is shown, and cmsim with the lab's access.

# begin_suite NAME: the files of the test go into a fresh folder `results`.
begin_suite() {
    results=$state/log/$1
    rm -rf "$results" && mkdir -p "$results"
    export XDG_STATE_HOME=$results/own
    passed=0 missed=0
    first=$(awk '$3 == "control-plane" { print $1; exit }' "$state/nodes.txt")
}

# check WHAT COMMAND...: says whether the command succeeded, and the end of its output if not.
check() {
    local what=$1
    shift
    if "$@" >"$results/check" 2>&1; then
        passed=$((passed + 1))
        echo "ok      $what"
    else
        missed=$((missed + 1))
        echo "FAILED  $what"
        tail -8 "$results/check" | sed 's/^/        /'
    fi
}

end_suite() {
    echo "$passed passed, $missed failed; details in $results"
    ((missed == 0))
}

over_ssh() { bounded 60 ssh -F "$state/ssh/config" "$@" </dev/null; }

# CMSIM names the program (default: built here, release).
need_cmsim() {
    program=${CMSIM:-$here/../target/release/cmsim}
    [[ -n ${CMSIM:-} ]] || (cd "$here/.." && cargo build --release --quiet)
    cluster_flags=(--kubeconfig "$state/kubeconfig" --to "$to")
    ssh_flags=(--ssh-user ops --ssh-key "$state/ssh/id_ed25519" --ssh-known-hosts "$state/ssh/known_hosts")
}

# run_apply RESULT FLAG...: what it prints is in RESULT.out and RESULT.err.
run_apply() {
    local result=$1
    shift
    bounded 1500 "$program" apply "${cluster_flags[@]}" --walks 50 --yes --recipe kubeadm-apt \
        --attest release-notes,add-ons,graceful-stop,no-other-work \
        --recipe-var kubeadmFlags=--ignore-preflight-errors=SystemVerification "${ssh_flags[@]}" --haproxy "$state/haproxy.sock" \
        --drain-timeout 90s "$@" >"$results/$result.out" 2>"$results/$result.err"
}

# ends_with CODE COMMAND...
ends_with() {
    local wanted=$1 code=0
    shift
    "$@" || code=$?
    echo "exit code $code, wanted $wanted"
    tail -n 5 "$results"/*.err
    ((code == wanted))
}

at_version() { [[ $(kube get nodes -o jsonpath='{.items[*].status.nodeInfo.kubeletVersion}' | tr ' ' '\n' | sort -u) == "$1" ]]; }

# No node is cordoned, in a run's hands, or upgraded.
untouched() {
    kube get nodes -o yaml >"$results/nodes.yaml"
    at_version "$from" && ! grep -Eq 'unschedulable: true|cmsim.dev/run' "$results/nodes.yaml" \
        && [[ -z $(over_ssh "root@$first" 'ls /var/backups/cmsim 2>/dev/null') ]]
}
