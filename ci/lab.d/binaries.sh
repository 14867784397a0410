# shellcheck shell=bash disable=SC2034,SC2154
# Kubernetes, etcd, CoreDNS and kind from their Go modules.

# Sets from_bin, to_bin, coredns: folders; kind: the program.
build_binaries() {
    local second=(kubeadm kubelet kubectl kube-proxy) first=(etcd etcdctl etcdutl kube-apiserver kube-controller-manager kube-scheduler)
    from_bin=$("$here/binaries" "$from" "${first[@]}" "${second[@]}") || skipped "cannot build Kubernetes $from"
    to_bin=$("$here/binaries" "$to" "${first[@]}" "${second[@]}") || skipped "cannot build Kubernetes $to"
    built kind "$(key "$parts/kind/go.sum" "$(go version)")" build_kind
    kind=$folder/kind
    from_coredns=$here/coredns/$(cat "$here/kubernetes/$from/coredns-version")
    to_coredns=$here/coredns/$(cat "$here/kubernetes/$to/coredns-version")
    write_coredns_module "$from_coredns"
    write_coredns_module "$to_coredns"
    built coredns "$(key "$from_coredns/go.sum" "$to_coredns/go.sum" "$(go version)")" build_coredns
    coredns=$folder
}

# A version that has no folder yet gets one, to be committed.
write_coredns_module() {
    [[ ! -f $1/go.sum ]] || return 0
    mkdir -p "$1"
    printf 'module cmsim.invalid/coredns/%s\n\ngo 1.26.0\n\ntool github.com/coredns/coredns\n\nrequire github.com/coredns/coredns %s\n' \
        "${1##*/}" "${1##*/}" >"$1/go.mod"
    (cd "$1" && go mod tidy) || skipped "cannot have CoreDNS ${1##*/}"
}

build_coredns() {
    local module
    for module in "$from_coredns" "$to_coredns"; do
        mkdir -p "$1/${module##*/}"
        (cd "$module" && CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags "-s -w" -o "$1/${module##*/}/coredns" github.com/coredns/coredns) \
            || skipped "cannot build CoreDNS ${module##*/}"
    done
}

build_kind() {
    (cd "$parts/kind" && CGO_ENABLED=0 go build -mod=readonly -trimpath -ldflags "-s -w" -o "$1/kind" sigs.k8s.io/kind) \
        || skipped "cannot build kind"
}
