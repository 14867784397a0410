# Says all that preflight wants to know of a host, changing nothing. A line `@ WHAT NAME` begins an item; its content follows,
# each line behind a blank.
PATH="${PATH:-/usr/bin:/bin}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin"
LC_ALL=C
export PATH LC_ALL
exec 2>/dev/null
item() {
    echo "@ $*"
    sed 's/^/ /'
    echo
}
file() { # WHAT PATH
    [ -e "$2" ] && item "$1" "$2" <"$2"
}
has() {
    command -v "$1" >/dev/null
}
own="kubelet kubeadm kubectl"
others="containerd containerd.io cri-o runc kubernetes-cni cri-tools"

file os-release /etc/os-release
uname -r | item kernel
{ nproc || getconf _NPROCESSORS_ONLN; } | item cpus
file meminfo /proc/meminfo
stat -fc %T /sys/fs/cgroup | item cgroup
file swaps /proc/swaps
for path in / /usr /etc/kubernetes /var /var/lib/kubelet /var/lib/containerd /var/lib/containers /var/lib/etcd \
    /var/lib/cmsim /var/backups /var/backups/cmsim; do
    [ -d "$path" ] && df -Pk "$path" | tail -n +2
done | sort -u | item df
[ -d /var/lib/etcd ] && du -sk /var/lib/etcd | cut -f1 | item etcd
file resolv.conf /etc/resolv.conf
file resolved /run/systemd/resolve/resolv.conf
has systemctl && systemctl is-active systemd-resolved | item resolved-state

pid=$(pidof kubelet | cut -d' ' -f1)
config=/var/lib/kubelet/config.yaml
if [ -n "$pid" ]; then
    tr '\0' '\n' <"/proc/$pid/cmdline" | tail -n +2 | item kubelet-flags
    named=$(tr '\0' '\n' <"/proc/$pid/cmdline" | sed -n 's/^--config=//p')
    config=${named:-$config}
fi
file kubelet-config "$config"
if has kubectl && [ -e /etc/kubernetes/kubelet.conf ]; then
    timeout 15 kubectl --kubeconfig /etc/kubernetes/kubelet.conf --namespace kube-system get configmap kubelet-config \
        --output 'jsonpath={.data.kubelet}' | item kubelet-configmap
fi
for manifest in /etc/kubernetes/manifests/*.yaml /etc/kubernetes/manifests/*.yml /etc/kubernetes/manifests/*.json; do
    file manifest "$manifest"
done

if has dpkg-query; then
    dpkg-query -W -f '${Package} ${Version} ${db:Status-Status}\n' $own $others | sed -n 's/ installed$//p' | item installed
    for package in $own; do
        timeout 60 apt-cache madison "$package" | awk '{print $3}' | item available "$package"
    done
    for package in $own $others; do
        timeout 60 dpkg --verify "$package"
    done | item changed
elif has rpm; then
    for package in $own $others; do
        rpm -q --qf '%{NAME} %{VERSION}-%{RELEASE}\n' "$package" | grep -v ' is not installed$'
    done | item installed
    for package in $own; do
        if has dnf || has yum; then
            { timeout 120 dnf -q list --available --showduplicates --disableexcludes=all "$package" ||
                timeout 120 yum -q list available --showduplicates --disableexcludes=all "$package"; } |
                awk -v name="$package." 'index($1, name) == 1 {print $2}' | item available "$package"
        elif has zypper; then
            timeout 120 zypper --non-interactive --no-refresh -q search -s --match-exact "$package" |
                awk -F'|' '/package/ {gsub(/ /, "", $4); print $4}' | item available "$package"
        fi
    done
    for package in $own $others; do
        timeout 60 rpm -V "$package" | grep -v ' is not installed$'
    done | item changed
fi
{ containerd --version || crio --version; } | head -n 1 | item runtime

if has openssl; then
    for certificate in /etc/kubernetes/pki/*.crt /etc/kubernetes/pki/etcd/*.crt /var/lib/kubelet/pki/kubelet-client-current.pem \
        /var/lib/kubelet/pki/kubelet.crt /var/lib/kubelet/pki/kubelet-server-current.pem; do
        [ -e "$certificate" ] && openssl x509 -enddate -noout -in "$certificate" | item certificate "$certificate"
    done
fi
if has needs-restarting; then
    needs-restarting -r >/dev/null
    echo $? | item needs-restarting
elif has dpkg-query; then
    { [ -e /var/run/reboot-required ] && echo yes || echo no; } | item reboot-required
fi
echo "@ end"
