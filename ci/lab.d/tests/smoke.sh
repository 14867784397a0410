# shellcheck shell=bash disable=SC2034,SC2154
# Is the lab what it says it is?

begin_suite smoke
# Every replica answers: a Service with several endpoints needs more of iptables than one with a single endpoint.
all_replicas_answer() {
    local one answers
    answers=$(for one in {1..60}; do bounded 5 curl -fsS "$1" || exit; done | sort -u) || return 1
    echo "$answers"
    [[ $(wc -l <<<"$answers") == "$2" ]]
}
loopback_resolver() { [[ $(over_ssh "$1" cat /etc/resolv.conf) == *127.0.0.11* ]]; }
good_resolver() { [[ $(over_ssh "$1" cat /etc/resolv.conf) == "$(cat "$state/resolv.conf")" ]]; }
refuses_unknown_host() {
    ! over_ssh -o UserKnownHostsFile=/dev/null "$1" true
}
kubelet_version() { [[ $(over_ssh "$1" kubelet --version) == "Kubernetes $from" ]]; }
proxy_answers_runtime_commands() {
    printf 'show servers state web\n' | bounded 5 python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.sendall(sys.stdin.buffer.read()); s.shutdown(1)
print(s.makefile().read())' "$state/haproxy.sock" | grep worker
}

apply_apps web
name_resolves() { kube -n shop exec deployment/web -- nslookup web.shop.svc.cluster.local; }
total=$(wc -l <"$state/nodes.txt")
check "all $total nodes are Ready" all_ready "$total"
# The proxy's own checks need two good answers first.
wait_for 20 "the proxy to see the application" curl -fsS http://127.0.0.1:18080/
check "web answers through the proxy, all three replicas" all_replicas_answer http://127.0.0.1:18080/ 3
check "the API server answers through the proxy" curl -fsSk https://127.0.0.1:18443/readyz
check "the proxy's runtime socket answers" proxy_answers_runtime_commands
# CoreDNS refuses to run with a resolver file that names its own pod.
if ! grep -q . "$state/loopback"; then
    check "CoreDNS is available" bounded 90 "$state/kubectl" --kubeconfig "$state/kubeconfig" -n kube-system \
        wait --for=condition=Available deployment/coredns --timeout=60s
    check "a pod resolves a Service's name" name_resolves
fi
while read -r node _; do
    check "$node: SSH as root, host key checked" over_ssh "root@$node" true
    check "$node: SSH as ops, sudo without a password" over_ssh "ops@$node" sudo -n true
    check "$node: an unknown host key is refused" refuses_unknown_host "root@$node"
    check "$node: kubelet $from" kubelet_version "root@$node"
    check "$node: kubeadm ${to#v}-1.1 resolves" over_ssh "ops@$node" sudo apt-get -s install "kubeadm=${to#v}-1.1"
    if grep -qx "$node" "$state/loopback"; then
        check "$node: names a resolver on the host itself, as asked for" loopback_resolver "root@$node"
    else
        check "$node: names the machine's resolver" good_resolver "root@$node"
    fi
done <"$state/nodes.txt"
end_suite
