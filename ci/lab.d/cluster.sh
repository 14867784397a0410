# shellcheck shell=bash disable=SC2034,SC2154
# The cluster: up, down, status.

build_all() {
    ready_machine
    build_binaries
    build_base
    build_packages
    build_images
    build_node
    say "node image $node_image"
}

kube() { "$state/kubectl" --kubeconfig "$state/kubeconfig" --request-timeout=30s "$@"; }

is_up() { [[ -f $state/up ]] && running "$state/haproxy.pid" && running "$state/packages.pid" && kube get --raw /readyz >/dev/null 2>&1; }

up() {
    local workers=3 checks=http loopback=() began=$SECONDS
    while (($#)); do
        case $1 in
            --workers) workers=${2:?} ;;
            --checks) checks=${2:?} ;;
            --loopback-resolver) loopback+=("${2:?}") ;;
            *) wrong_call "no option $1; see ci/lab --help" ;;
        esac
        shift 2
    done
    [[ $workers =~ ^[12]?[0-9]$ ]] || wrong_call "--workers: a number up to 29"
    if is_up; then say "already up"; return; fi
    [[ ! -d $state ]] || { say "half a lab is there"; down; }
    build_all
    mkdir -m 700 "$state" "$state/ssh"
    ln -s "$to_bin/kubectl" "$state/kubectl"
    [[ -z $(docker network ls -q --filter "name=^$network\$") ]] || failed "a Docker network $network exists that is not ours"
    bounded 60 docker network create "$network" >"$state/network"
    gateway=$(docker network inspect -f '{{(index .IPAM.Config 0).Gateway}}' "$network")
    timed "created the cluster" create_cluster "$workers"
    timed "prepared the nodes" prepare_nodes "${loopback[@]}"
    serve_packages
    start_proxy "$checks"
    timed "all nodes ready" wait_for 120 "all nodes to be ready" all_ready "$((workers + 1))"
    # The first pods of CoreDNS began with Docker's resolver file, which a pod keeps.
    kube -n kube-system delete pod -l k8s-app=kube-dns --wait=false >/dev/null
    timed "read the package source on every node" refresh_packages
    touch "$state/up"
    say "up in $((SECONDS - began)) s"
    status
}

create_cluster() {
    local one
    {
        cat "$parts/kind.yaml"
        echo "nodes:"
        echo "  - role: control-plane"
        for ((one = 0; one < $1; one++)); do echo "  - role: worker"; done
    } >"$state/kind.yaml"
    mkdir -p "$state/log"
    KIND_EXPERIMENTAL_DOCKER_NETWORK=$network bounded 540 "$kind" create cluster --name "$cluster" --image "$node_image" \
        --config "$state/kind.yaml" --kubeconfig "$state/kubeconfig" --retain >"$state/log/kind" 2>&1 9>&- \
        || { tail -40 "$state/log/kind" >&2; failed "kind; see $state/log/kind"; }
}

all_ready() { [[ $(kube get nodes --no-headers | grep -c ' Ready ') == "$1" ]]; }

on_node() { bounded 120 docker exec -i "$@"; }

# Name and address of each node, its keys, its packages, its resolver. Host keys come out of the containers: nothing is
# trusted on first use.
prepare_nodes() {
    local node address role key
    for node in $("$kind" get nodes --name "$cluster" 2>/dev/null | sort); do
        address=$(docker inspect -f "{{(index .NetworkSettings.Networks \"$network\").IPAddress}}" "$node")
        role=worker
        [[ $node != *control-plane* ]] || role=control-plane
        echo "$node $address $role"
    done >"$state/nodes.txt"
    ssh-keygen -q -t ed25519 -N '' -C 'cmsim lab' -f "$state/ssh/id_ed25519"
    printf '%s\n' "$@" >"$state/loopback"
    machine_resolver >"$state/resolv.conf"
    { echo "# lab"; awk '{print $2, $1}' "$state/nodes.txt"; } >"$state/hosts"
    {
        printf 'IdentityFile %s\nIdentitiesOnly yes\nUserKnownHostsFile %s\n' "$state/ssh/id_ed25519" "$state/ssh/known_hosts"
        printf 'GlobalKnownHostsFile /dev/null\nStrictHostKeyChecking yes\nBatchMode yes\nConnectTimeout 10\n'
    } >"$state/ssh/options"
    : >"$state/ssh/known_hosts"
    : >"$state/ssh/config"
    while read -r node address role; do
        for key in ed25519 ecdsa rsa; do
            on_node "$node" cat "/etc/ssh/ssh_host_${key}_key.pub" </dev/null | awk -v names="$node,$address" '{print names, $1, $2}'
        done >>"$state/ssh/known_hosts"
        printf 'Host %s\n    HostName %s\n' "$node" "$address" >>"$state/ssh/config"
        # shellcheck disable=SC2016
        on_node "$node" sh -euc '
            for home in /root /home/ops; do
                mkdir -p -m 700 $home/.ssh
                printf "%s\n" "$1" >$home/.ssh/authorized_keys
                chmod 600 $home/.ssh/authorized_keys
            done
            chown -R ops:ops /home/ops/.ssh
            for minor in $3; do
                echo "deb [signed-by=/etc/apt/keyrings/kubernetes-apt-keyring.gpg] $2/$minor/deb/ /"
            done >/etc/apt/sources.list.d/kubernetes.list' \
            sh "$(cat "$state/ssh/id_ed25519.pub")" "${PACKAGES:-http://$gateway:$package_port}" "${from%.*} ${to%.*}" </dev/null
        on_node "$node" sh -c 'cat >/etc/apt/keyrings/kubernetes-apt-keyring.gpg' <"$packages/keyring.gpg"
        on_node "$node" sh -c 'cat >/etc/lab/hosts' <"$state/hosts"
        [[ " $* " == *" $node "* ]] || on_node "$node" sh -c 'cat >/etc/lab/resolv.conf' <"$state/resolv.conf"
        on_node "$node" lab-names </dev/null
    done <"$state/nodes.txt"
    { printf 'Host *\n'; sed 's/^/    /' "$state/ssh/options"; } >>"$state/ssh/config"
}

# The machine's own servers, as far as they are not on its loopback; none: the gateway, which answers nothing.
machine_resolver() {
    { cat /run/systemd/resolve/resolv.conf /etc/resolv.conf 2>/dev/null || true; echo "nameserver $gateway"; } \
        | awk '$1 == "nameserver" && $2 !~ /^(127\.|::1)/ {print; exit}'
}

refresh_packages() {
    local node
    while read -r node _; do
        on_node "$node" apt-get update -q </dev/null >"$state/log/apt-$node" 2>&1 \
            || { cat "$state/log/apt-$node" >&2; failed "apt-get update on $node"; }
    done <"$state/nodes.txt"
}

down() {
    local id began=$SECONDS
    if [[ -d $state ]]; then
        stop "$state/haproxy.pid"
        stop "$state/packages.pid"
        if [[ -s $state/network ]]; then
            ready_machine
            id=$(cat "$state/network")
            # All containers on a network of ours are ours.
            mapfile -t ours < <(docker ps -aq --no-trunc --filter "network=$id")
            ((${#ours[@]} == 0)) || bounded 180 docker rm -f -v "${ours[@]}" >/dev/null
            [[ -z $(docker network ls -q --no-trunc --filter "id=$id") ]] || bounded 60 docker network rm "$id" >/dev/null
            # Nodes in the machine's own cgroup tree leave their pods' groups behind; only empty ones can be removed.
            for id in /sys/fs/cgroup/*/k8s.io; do
                [[ ! -d $id ]] || find "$id" -depth -type d -exec rmdir {} \; 2>/dev/null || true
            done
        fi
        rm -rf "$state"
    fi
    ! command -v docker >/dev/null || stop_docker
    say "down in $((SECONDS - began)) s"
}

status() {
    if ! is_up; then
        say "down"
        return
    fi
    kube get nodes -o wide
    print_places
}

print_places() {
    local name node_port port
    printf 'export KUBECONFIG=%s\n' "$state/kubeconfig"
    printf 'LAB_KUBECTL=%s\nLAB_NODES=%s\n' "$state/kubectl" "$state/nodes.txt"
    printf 'LAB_SSH_CONFIG=%s\nLAB_SSH_KEY=%s\nLAB_KNOWN_HOSTS=%s\n' "$state/ssh/config" "$state/ssh/id_ed25519" "$state/ssh/known_hosts"
    printf 'LAB_PROXY_SOCKET=%s\nLAB_API_URL=https://127.0.0.1:%s\n' "$state/haproxy.sock" "$api_port"
    while read -r name node_port port; do
        printf 'LAB_%s_URL=http://127.0.0.1:%s\n' "${name^^}" "$port"
    done <"$parts/apps/ports"
    [[ ! -f $state/packages.address ]] || printf 'LAB_PACKAGES=http://%s\n' "$(cat "$state/packages.address")"
}
