# shellcheck shell=bash disable=SC2034,SC2154
# Container images, made here, in containerd's content store: those of Kubernetes, etcd and CoreDNS in both versions, pause and
# an HTTP application. No image is pulled.

build_images() {
    built images "$(key "$from_bin" "$to_bin" "$coredns" "$base" "$parts/images.sh" "$parts"/images/*)" make_images
    images=$folder
}

make_images() {
    local folder=$1 work version bin name
    work=$folder/work
    mkdir -p "$folder/archives" "$work/root"
    tar -xzf "$base/root.tar.gz" -C "$work/root"
    for version in "$from" "$to"; do
        bin=$from_bin
        [[ $version == "$from" ]] || bin=$to_bin
        for name in kube-apiserver kube-controller-manager kube-scheduler; do
            lay_image "$work/image" "$bin/$name"
            make_image "$work/image" "registry.k8s.io/$name:$version" '' "$folder/archives"
        done
        lay_image "$work/image" "$bin/etcd" "$bin/etcdctl" "$bin/etcdutl"
        make_image "$work/image" "registry.k8s.io/etcd:$(sed 's/^v//' "$here/kubernetes/$version/etcd-version")-0" '' "$folder/archives"
        name=$(cat "$here/kubernetes/$version/coredns-version")
        lay_image "$work/image" "$coredns/$name/coredns"
        make_image "$work/image" "registry.k8s.io/coredns/coredns:$name" /usr/local/bin/coredns "$folder/archives"
        lay_image "$work/image" "$bin/kube-proxy"
        lay_iptables "$work/image" "$work/root"
        make_image "$work/image" "registry.k8s.io/kube-proxy:$version" '' "$folder/archives"
    done
    lay_image "$work/image" "$parts/images/pause"
    make_image "$work/image" registry.k8s.io/pause:3.10.2 /usr/local/bin/pause "$folder/archives"
    lay_image "$work/image" "$parts/images/web"
    make_image "$work/image" cmsim.invalid/web:1 /usr/local/bin/web "$folder/archives"
    fill_store "$work/root" "$folder"
    rm -rf "$work" "$folder/archives"
}

# lay_image FOLDER PROGRAM...: a root file system of busybox and the programs.
lay_image() {
    local folder=$1 applet
    shift
    rm -rf "$folder"
    mkdir -p "$folder"/{bin,usr/local/bin,usr/sbin,etc,tmp,proc,sys,dev}
    chmod 1777 "$folder/tmp"
    echo root:x:0:0:root:/root:/bin/sh >"$folder/etc/passwd"
    cp "$(command -v busybox)" "$folder/bin/busybox"
    for applet in $(busybox --list); do
        [[ $applet == busybox ]] || ln -s busybox "$folder/bin/$applet"
    done
    install -m 755 "$@" "$folder/usr/local/bin/"
}

# kube-proxy calls iptables. Its matches and targets are modules that it loads: they and what they link to must be
# there, or Services with several endpoints fail without a sign in the pods' status.
lay_iptables() {
    local folder=$1 root=$2 name file
    install -D -m 755 "$root/usr/sbin/xtables-nft-multi" "$folder/usr/sbin/xtables-nft-multi"
    for name in {iptables,ip6tables}{,-save,-restore}; do ln -s xtables-nft-multi "$folder/usr/sbin/$name"; done
    (
        cd "$root" || exit
        find usr/lib -path '*/xtables/*.so'
        # shellcheck disable=SC2016
        chroot . sh -c 'ldd /usr/sbin/xtables-nft-multi $(find /usr/lib -path "*/xtables/*.so")' \
            | awk '{for (i = 1; i <= NF; i++) if ($i ~ /^\/[^:]*$/) print substr($i, 2)}' | sort -u
    ) | while read -r file; do
        mkdir -p "$folder/$(dirname "$file")"
        cp -L "$root/$file" "$folder/$file"
    done
    chroot "$folder" /usr/sbin/iptables --version >/dev/null || failed "the image of kube-proxy lacks what iptables links to"
    [[ -n $(find "$folder" -name libxt_statistic.so) ]] || failed "the image of kube-proxy lacks libxt_statistic"
}

# make_image FOLDER NAME ENTRYPOINT TARGET: an archive of one compressed layer.
make_image() {
    local work target=$4/${2//[\/:]/_}.tar layer entry=null
    work=$4/work
    mkdir "$work"
    tar -C "$1" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$work/layer.tar" .
    layer=$(sha256sum "$work/layer.tar" | cut -d ' ' -f 1)
    gzip -n -1 "$work/layer.tar"
    [[ -z $3 ]] || entry="[\"$3\"]"
    printf '{"architecture":"%s","os":"linux","config":{"Env":["PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],"Entrypoint":%s},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
        "$(dpkg --print-architecture)" "$entry" "$layer" >"$work/config.json"
    printf '[{"Config":"config.json","RepoTags":["%s"],"Layers":["layer.tar.gz"]}]' "$2" >"$work/manifest.json"
    tar -C "$work" -cf "$target" manifest.json config.json layer.tar.gz
    rm -rf "$work"
}

# The node's own containerd takes the images in, so that the store is of its version; each node unpacks what it runs.
fill_store() {
    local root=$1 folder=$2 run archive pid
    run=$(mktemp -d)
    printf 'version = 2\nroot = "%s"\nstate = "%s/state"\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n[grpc]\n  address = "%s/socket"\n' \
        "$folder/containerd" "$run" "$run" >"$run/config.toml"
    "$root/usr/bin/containerd" --config "$run/config.toml" >"$run/log" 2>&1 9>&- &
    pid=$!
    wait_for 30 containerd "$root/usr/bin/ctr" -a "$run/socket" version || { tail -3 "$run/log" >&2; kill "$pid"; return 1; }
    for archive in "$folder"/archives/*; do
        bounded 120 "$root/usr/bin/ctr" -a "$run/socket" -n k8s.io images import --no-unpack "$archive" >/dev/null \
            || { kill "$pid"; return 1; }
    done
    "$root/usr/bin/ctr" -a "$run/socket" -n k8s.io images list -q >"$folder/list"
    kill "$pid"
    wait "$pid" || true
    rm -rf "$run"
    tar -C "$folder" -cf "$folder/store.tar" containerd
    rm -rf "$folder/containerd"
}
