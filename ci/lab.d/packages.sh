# shellcheck shell=bash disable=SC2034,SC2154
# Debian packages of kubeadm, kubelet and kubectl in both versions, and a signed source of them with one folder a
# minor version, as Kubernetes' own package source has.

build_packages() {
    built packages "$(key "$from_bin" "$to_bin" "$parts/packages.sh" "$parts"/packages/*)" make_packages
    packages=$folder
}

make_packages() {
    local folder=$1 arch version bin minor home
    arch=$(dpkg --print-architecture)
    home=$folder/key
    mkdir -m 700 "$home"
    gpg --homedir "$home" --batch --quiet --passphrase '' --quick-generate-key 'cmsim lab packages' ed25519 sign never 2>/dev/null
    mkdir "$folder/source"
    gpg --homedir "$home" --batch --export >"$folder/keyring.gpg"
    for version in "$from" "$to"; do
        bin=$from_bin
        [[ $version == "$from" ]] || bin=$to_bin
        minor=${version%.*}
        mkdir -p "$folder/source/$minor/deb"
        for name in kubeadm kubelet kubectl; do
            make_package "$folder" "$name" "${version#v}-1.1" "$arch" "$bin/$name" "$folder/source/$minor/deb"
        done
    done
    for minor in "$folder"/source/*; do
        (
            cd "$minor/deb" || exit
            apt-ftparchive packages . >Packages
            apt-ftparchive -o APT::FTPArchive::Release::Label="Kubernetes ${minor##*/}" release . >.Release
            mv .Release Release
            gpg --homedir "$home" --batch --quiet --clearsign -o InRelease Release
            gpg --homedir "$home" --batch --quiet --armor --detach-sign -o Release.gpg Release
        )
    done
    gpgconf --homedir "$home" --kill all
}

# make_package FOLDER NAME VERSION ARCHITECTURE PROGRAM TARGET
make_package() {
    local tree=$1/tree name=$2 depends
    rm -rf "$tree"
    mkdir -p "$tree/DEBIAN"
    install -D -m 755 "$5" "$tree/usr/bin/$name"
    case $name in
        kubelet)
            depends="iptables (>= 1.4.21), iproute2, mount, util-linux, ethtool, conntrack"
            install -D -m 644 "$parts/packages/kubelet.service" "$tree/usr/lib/systemd/system/kubelet.service"
            ;;
        kubeadm)
            depends="kubelet, kubectl"
            install -D -m 644 "$parts/packages/10-kubeadm.conf" "$tree/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf"
            ;;
        *) depends= ;;
    esac
    {
        printf 'Package: %s\nVersion: %s\nArchitecture: %s\nSection: admin\nPriority: optional\n' "$name" "$3" "$4"
        printf 'Maintainer: cmsim lab <lab@cmsim.invalid>\n'
        [[ -z $depends ]] || echo "Depends: $depends"
        echo "Description: $name of Kubernetes, built from its Go module"
    } >"$tree/DEBIAN/control"
    dpkg-deb --root-owner-group -Zgzip -z1 --build "$tree" "$6/${name}_$3_$4.deb" >/dev/null
    rm -rf "$tree"
}

# The source is served on the gateway address of the lab's own Docker network.
serve_packages() {
    echo "$gateway:$package_port" >"$state/packages.address"
    start packages busybox httpd -f -p "$gateway:$package_port" -h "$packages/source"
    wait_for 10 "the package source" curl -fsS -o /dev/null "http://$gateway:$package_port/${to%.*}/deb/Release"
}
package_port=18090
