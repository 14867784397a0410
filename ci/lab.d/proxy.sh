# shellcheck shell=bash disable=SC2034,SC2154
# HAProxy on loopback, in front of the applications' node ports on the workers and of the API server.

api_port=18443

start_proxy() {
    local how=$1
    write_proxy_configuration "$how"
    haproxy -c -q -f "$state/haproxy.cfg" || failed "haproxy refuses $state/haproxy.cfg"
    start haproxy haproxy -db -f "$state/haproxy.cfg"
    wait_for 10 haproxy test -S "$state/haproxy.sock" || { tail -3 "$state/log/haproxy" >&2; return 1; }
    sleep 0.3
    running "$state/haproxy.pid" || { tail -3 "$state/log/haproxy" >&2; failed "haproxy ended"; }
}

# Every request takes a connection of its own to a worker: a kept one would stay with a pod that is being ended.
write_proxy_configuration() {
    local how=$1 name node_port port node address role check=''
    case $how in
        none) ;;
        tcp | http) check=' check inter 1s fall 2 rise 2' ;;
        *) wrong_call "checks are none, tcp or http" ;;
    esac
    echo "$how" >"$state/checks"
    {
        printf 'global\n    stats socket %s mode 600 level admin\n    maxconn 2000\n    log stdout format raw local0\n' "$state/haproxy.sock"
        printf 'defaults\n    timeout connect 2s\n    timeout client 60s\n    timeout server 60s\n    retries 0\n'
        # Only what goes wrong is logged: when, which server, and how the session ended.
        printf '    log global\n    option httplog\n    option dontlog-normal\n'
        while read -r name node_port port; do
            printf 'listen %s\n    mode http\n    bind 127.0.0.1:%s\n    balance roundrobin\n    option http-server-close\n' "$name" "$port"
            [[ $how != http ]] || printf '    option httpchk GET /\n'
            while read -r node address role; do
                [[ $role != worker ]] || echo "    server $node $address:$node_port$check"
            done <"$state/nodes.txt"
        done <"$parts/apps/ports"
        printf 'listen api\n    mode tcp\n    timeout client 1h\n    timeout server 1h\n    bind 127.0.0.1:%s\n' "$api_port"
        while read -r node address role; do
            [[ $role != control-plane ]] || echo "    server $node $address:6443$check"
        done <"$state/nodes.txt"
    } >"$state/haproxy.cfg"
}

change_checks() {
    is_up || failed "the lab is down"
    ready_machine
    [[ ${1:-} =~ ^(none|tcp|http)$ ]] || wrong_call "checks are none, tcp or http"
    stop "$state/haproxy.pid"
    rm -f "$state/haproxy.sock"
    start_proxy "$1"
}
