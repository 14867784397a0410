# shellcheck shell=bash disable=SC2034,SC2154
# What is wrong is found before anything moves, and nothing is changed then. Leaves the lab as it was.

begin_suite refusals
need_cmsim
at_version "$from" || failed "the nodes are not at $from any more: ci/lab down && ci/lab test refusals"
worker=$(awk '$3 == "worker" { print $1; exit }' "$state/nodes.txt")
apply_apps web

# refused RESULT CODE WORD...: apply ends with the code, its output holds all the words, and the lab is untouched.
refused() {
    local result=$1 code=$2 word
    shift 2
    ends_with "$code" run_apply "$result" || return 1
    for word; do
        grep -qF -- "$word" "$results/$result.out" "$results/$result.err" || { echo "without: $word"; return 1; }
    done
    untouched
}

kube apply -f "$parts/apps/bare.yaml" >/dev/null
kube -n shop wait --for=condition=Ready pod/bare --timeout=60s >/dev/null
check "an unmanaged pod: refused with its name" refused unmanaged 1 P001 shop/Pod/bare
kube -n shop delete pod bare --wait --timeout=60s >/dev/null

cp "$state/ssh/known_hosts" "$results/known_hosts"
# Somebody else's key under the worker's name.
ssh-keygen -q -t ed25519 -N '' -f "$results/other"
address=$(awk -v node="$worker" '$1 == node { print $2 }' "$state/nodes.txt")
{
    grep -v "^$worker," "$state/ssh/known_hosts"
    echo "$worker,$address $(cut -d ' ' -f 1,2 "$results/other.pub")"
} >"$results/wrong_hosts"
with_known_hosts() {
    local ssh_flags=(--ssh-user ops --ssh-key "$state/ssh/id_ed25519" --ssh-known-hosts "$1")
    shift
    "$@"
}
check "a wrong host key: refused" with_known_hosts "$results/wrong_hosts" refused wrong-key 2 "$worker" SHA256:
check "an unknown host key: refused with the way to accept it" with_known_hosts /dev/null refused unknown-key 2 SHA256: "accept it"

on_node "$worker" sh -c 'echo nameserver 127.0.0.11 >/etc/resolv.conf' </dev/null
check "a loopback resolv.conf on a worker: found" refused resolver 1 P030 "Node/$worker" 127.0.0.11
on_node "$worker" lab-names </dev/null

on_node "$worker" sh -c 'cd /etc/apt/sources.list.d && grep -v "/'"${to%.*}"'/" kubernetes.list >kept && mv kubernetes.list /tmp/ && mv kept kubernetes.list &&
    apt-get update -q' </dev/null >"$results/apt" 2>&1
check "a package source without the target version: found" refused packages 1 P034 "Node/$worker" "kubelet $to"
on_node "$worker" sh -c 'mv /tmp/kubernetes.list /etc/apt/sources.list.d/ && apt-get update -q' </dev/null >>"$results/apt" 2>&1

on_node "$first" sh -c 'mkdir -p /var/backups && mount -t tmpfs -o size=4m tmpfs /var/backups' </dev/null
check "a full disk under the backup: found" refused disk 1 P036 "Node/$first" /var/backups
on_node "$first" umount /var/backups </dev/null
end_suite
