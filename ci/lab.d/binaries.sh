# shellcheck shell=bash disable=SC2034,SC2154
# Kubernetes, etcd and kind from their Go modules.

# Sets from_bin, to_bin: folders; kind: the program.
build_binaries() {
    local second=(kubeadm kubelet kubectl kube-proxy) first=(etcd etcdctl kube-apiserver kube-controller-manager kube-scheduler)
    from_bin=$("$here/binaries" "$from" "${first[@]}" "${second[@]}") || skipped "cannot build Kubernetes $from"
    to_bin=$("$here/binaries" "$to" "${first[@]}" "${second[@]}") || skipped "cannot build Kubernetes $to"
    built kind "$(key "$here/kind/go.sum" "$(go version)")" build_kind
    kind=$folder/kind
}

build_kind() {
    (cd "$here/kind" && CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags "-s -w" -o "$1/kind" sigs.k8s.io/kind) \
        || skipped "cannot build kind"
}
