# shellcheck shell=bash disable=SC2034,SC2154
# The node image: Debian with systemd, containerd, sshd and Kubernetes' packages, as kind expects it.

included=systemd-sysv,dbus,kmod,procps,iproute2,iptables,ethtool,conntrack,socat,containerd,runc,containernetworking-plugins
included+=,openssh-server,sudo,ca-certificates

build_base() {
    built base "$(key "$included" bookworm)" make_base
    base=$folder
}

make_base() {
    local root=$1/root
    mkdir -p "$lab/log"
    bounded 900 debootstrap --variant=minbase --include="$included" bookworm "$root" >"$lab/log/debootstrap" 2>&1 \
        || { tail -3 "$lab/log/debootstrap" >&2; skipped "debootstrap cannot make a Debian; see $lab/log/debootstrap"; }
    rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/cache/apt/archives/*.deb "${root:?}"/dev/* \
        "$root"/usr/share/{doc,locale,man}/*
    tar -C "$root" --numeric-owner -czf "$1/root.tar.gz" .
    rm -rf "$root"
}

build_node() {
    local tag files
    mapfile -t files < <(find "$parts/node" -type f | sort)
    tag=$(key "$base" "$packages" "$images" "$parts/node.sh" "${files[@]}")
    node_image=cmsim-lab-node:$tag
    docker image inspect "$node_image" >/dev/null 2>&1 || timed "built node image" make_node
}

make_node() {
    local work old
    # An image that a running lab uses stays until the next build.
    for old in $(docker image ls -q cmsim-lab-node); do docker image rm -f "$old" >/dev/null 2>&1 || true; done
    work=$lab/node
    rm -rf "$work"
    mkdir -p "$work/root"
    tar -xzf "$base/root.tar.gz" -C "$work/root"
    cp "$packages/source/${from%.*}/deb"/*"_${from#v}-1.1_"*.deb "$work/root/tmp/"
    # shellcheck disable=SC2016
    chroot "$work/root" /bin/sh -euc '
        dpkg -i /tmp/*.deb >/dev/null
        rm -f /tmp/*.deb
        apt-mark hold kubeadm kubelet kubectl >/dev/null
        useradd --create-home --shell /bin/bash --password "*" ops
        rm -f /etc/apt/sources.list /etc/ssh/ssh_host_*
        : >/etc/machine-id
        mkdir -p /opt/cni /etc/cni/net.d /etc/apt/keyrings /kind /etc/lab
        ln -sfn /usr/lib/cni /opt/cni/bin'
    cp -rT "$parts/node" "$work/root"
    echo "$from" >"$work/root/kind/version"
    chmod 440 "$work/root/etc/sudoers.d/ops"
    chmod 755 "$work"/root/usr/local/bin/*
    chroot "$work/root" /bin/sh -euc '
        systemctl set-default multi-user.target
        systemctl enable ssh containerd kubelet lab-names
        systemctl mask systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket getty.target \
            console-getty.service systemd-modules-load.service sys-kernel-debug.mount sys-kernel-tracing.mount \
            dev-hugepages.mount dev-mqueue.mount apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
            e2scrub_all.timer fstrim.timer' >/dev/null 2>&1
    tar -C "$work/root" --numeric-owner -cf "$work/root.tar" .
    rm -rf "$work/root"
    cp "$images/store.tar" "$work/store.tar"
    cat >"$work/Dockerfile" <<'END'
FROM scratch
ADD root.tar /
ADD store.tar /var/lib/
ENV container=docker
STOPSIGNAL SIGRTMIN+3
ENTRYPOINT ["/usr/local/bin/entrypoint"]
END
    DOCKER_BUILDKIT=0 bounded 600 docker build -t "$node_image" "$work" >"$lab/log/node-image" 2>&1 \
        || { tail -5 "$lab/log/node-image" >&2; failed "docker build; see $lab/log/node-image"; }
    rm -rf "$work"
}
