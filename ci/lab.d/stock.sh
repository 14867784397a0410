# shellcheck shell=bash disable=SC2034,SC2154
# A stock kind cluster made to look like the lab: sshd, a user with sudo, Kubernetes' package source, a proxy in front.

# Installs nothing: what is wanted is looked for in `up_stock`.
ready_machine() { :; }
build_binaries() { from_bin=$("$here/binaries" "$from" etcd etcdctl etcdutl); }

is_up() { [[ -f $state/up ]] && running "$state/haproxy.pid" && kube get --raw /readyz >/dev/null 2>&1; }

up_stock() {
    local program node
    for program in docker kind kubectl haproxy go cargo; do
        command -v "$program" >/dev/null || skipped "no $program on this machine"
    done
    kind=$(command -v kind)
    [[ ! -d $state ]] || down
    mkdir -p "$lab"
    mkdir -m 700 "$state" "$state/ssh"
    mkdir "$state/log"
    ln -s "$(command -v kubectl)" "$state/kubectl"
    docker network create "$network" >"$state/network"
    gateway=$(docker network inspect -f '{{(index .IPAM.Config 0).Gateway}}' "$network")
    printf 'kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes: [{role: control-plane}, {role: worker}, {role: worker}, {role: worker}]\n' \
        >"$state/kind.yaml"
    KIND_EXPERIMENTAL_DOCKER_NETWORK=$network kind create cluster --name "$cluster" --image "kindest/node:$from" \
        --config "$state/kind.yaml" --kubeconfig "$state/kubeconfig"
    for node in $(kind get nodes --name "$cluster"); do stock_node "$node"; done
    stock_image
    prepare_nodes
    start_proxy http
    wait_for 120 "all nodes to be ready" all_ready 4
    refresh_packages
    touch "$state/up"
}

# What the lab's own node image has already.
stock_node() {
    # shellcheck disable=SC2016
    on_node "$1" sh -euc '
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -q && apt-get install -qy --no-install-recommends openssh-server sudo ca-certificates
        id ops >/dev/null 2>&1 || useradd --create-home --shell /bin/bash --password "*" ops
        mkdir -p /etc/lab /etc/apt/keyrings
        systemctl enable --now ssh' </dev/null
    on_node "$1" sh -c 'cat >/etc/sudoers.d/ops && chmod 440 /etc/sudoers.d/ops' <"$parts/node/etc/sudoers.d/ops"
    on_node "$1" sh -c 'cat >/usr/local/bin/lab-names && chmod 755 /usr/local/bin/lab-names' <"$parts/node/usr/local/bin/lab-names"
}

# The packages come from PACKAGES; its key is the same for all minor versions.
packages=$state/packages
stock_key() {
    mkdir -p "$packages"
    curl -fsSL "$PACKAGES/${to%.*}/deb/Release.key" | gpg --dearmor >"$packages/keyring.gpg"
}

# The application's image on every node.
stock_image() {
    stock_key
    mkdir "$state/image"
    cp "$parts/images/web" "$state/image/web"
    printf 'FROM busybox:musl\nCOPY web /usr/local/bin/web\nENTRYPOINT ["/usr/local/bin/web"]\n' >"$state/image/Dockerfile"
    docker build -t cmsim.invalid/web:1 "$state/image"
    "$kind" load docker-image --name "$cluster" cmsim.invalid/web:1
}
