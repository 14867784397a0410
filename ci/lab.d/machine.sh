# shellcheck shell=bash disable=SC2034,SC2154
# What the machine must have: Debian's packages, Docker, and a way around a privilege that it may lack.

# need COMMAND=PACKAGE...: installs the packages whose command is missing.
need() {
    local one missing=()
    for one; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${one%%=*}" >/dev/null || missing+=("${one#*=}")
    done
    ((${#missing[@]})) || return 0
    [[ $(id -u) == 0 ]] || skipped "not root, and these packages are missing: ${missing[*]}"
    say "installing ${missing[*]}"
    mkdir -p "$lab/log"
    if ! DEBIAN_FRONTEND=noninteractive bounded 600 sh -c 'apt-get update -q && apt-get install -qy --no-install-recommends "$@"' \
        sh "${missing[@]}" >"$lab/log/apt" 2>&1; then
        tail -5 "$lab/log/apt" >&2
        skipped "cannot install ${missing[*]}"
    fi
}

ready_machine() {
    export PATH=$PATH:/usr/sbin:/sbin
    command -v go >/dev/null || skipped "no Go to build the binaries with"
    need docker=docker.io dockerd=docker.io iptables=iptables haproxy=haproxy busybox=busybox-static debootstrap=debootstrap \
        apt-ftparchive=apt-utils dpkg-deb=dpkg gpg=gnupg ssh=openssh-client ssh-keygen=openssh-client curl=curl
    # kind and we call `docker`; the wrapper in front turns --privileged into what this machine can give.
    real_docker=$(command -v docker)
    if lacks_resource_capability && [[ $real_docker != "$parts/docker/docker" ]]; then
        export LAB_REAL_DOCKER=$real_docker PATH=$parts/docker:$PATH
    fi
    docker info >/dev/null 2>&1 || start_docker
}

# CAP_SYS_RESOURCE is bit 24. Docker cannot give a container what it lacks itself.
lacks_resource_capability() {
    local bounding
    bounding=$(sed -n 's/^CapBnd:\t//p' /proc/self/status)
    (((16#$bounding >> 24 & 1) == 0))
}

start_docker() {
    [[ $(id -u) == 0 ]] || skipped "Docker does not run and only root can start it"
    say "starting dockerd"
    process_folder=$lab start dockerd dockerd
    wait_for 60 dockerd docker info || { tail -5 "$lab/log/dockerd" >&2; skipped "dockerd does not start; see $lab/log/dockerd"; }
}

# Ends the dockerd that we started, unless others use it by now.
stop_docker() {
    running "$lab/dockerd.pid" || return 0
    if [[ -n $(docker ps -q) ]]; then
        say "dockerd stays, as it runs containers of others"
    else
        stop "$lab/dockerd.pid"
    fi
}
