# shellcheck shell=bash disable=SC2034,SC2154
# Applications of several kinds on the lab, each a file of its own.

apply_apps() {
    local name names=("$@")
    if [[ ${1:-} == --list ]]; then
        for name in "$parts"/apps/*.yaml; do
            printf '%-10s %s\n' "$(basename "$name" .yaml)" "$(sed -n '1s/^# //p' "$name")"
        done
        return
    fi
    is_up || failed "the lab is down"
    ((${#names[@]})) || names=(web)
    for name in "${names[@]}"; do
        [[ -f $parts/apps/$name.yaml ]] || wrong_call "no application $name; see ci/lab apps --list"
    done
    for name in "${names[@]}"; do kube apply -f "$parts/apps/$name.yaml" >&2; done
    for name in "${names[@]}"; do
        kube -n shop wait --for=condition=Ready pod -l "app=$name" --timeout=120s >/dev/null
        [[ $name == bare ]] || kube -n shop rollout status "deployment/$name" --timeout=120s >&2
    done
}
