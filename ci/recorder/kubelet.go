package main

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// Kubelets plays the kubelets of all nodes: heartbeats, and for every bound pod start, readiness and end.
type Kubelets struct {
	api *API
	// passive: only heartbeats; pods are moved by somebody else.
	passive bool
	mu      sync.Mutex
	nodes   map[string]*played
	pods    map[string]*worker
	ips     int
	busy    int // pods on the way to a state in which they stay
	ctx     context.Context
	cancel  context.CancelFunc
}

type played struct {
	up      bool
	version string
}

// worker leads one pod.
type worker struct {
	pod    Object
	node   string
	signal chan struct{}
	gone   bool
	// Asked from outside: the kubelet came back, or a probe answers differently.
	restart      bool
	wanted       *bool
	restarts     int
	ready        bool
	startSeconds time.Duration
}

func startKubelets(api *API, passive bool) *Kubelets {
	ctx, cancel := context.WithCancel(context.Background())
	k := &Kubelets{
		api: api, passive: passive, ctx: ctx, cancel: cancel,
		nodes: map[string]*played{}, pods: map[string]*worker{},
	}
	go k.heartbeats()
	return k
}

func (k *Kubelets) stop() { k.cancel() }

func (k *Kubelets) heartbeats() {
	for k.ctx.Err() == nil {
		k.mu.Lock()
		var up []string
		for name, node := range k.nodes {
			if node.up {
				up = append(up, name)
			}
		}
		k.mu.Unlock()
		for _, name := range up {
			k.renew(name)
		}
		k.sleep(2 * time.Second)
	}
}

func (k *Kubelets) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-k.ctx.Done():
	}
}

func (k *Kubelets) renew(node string) {
	spec := Object{
		"holderIdentity": node, "leaseDurationSeconds": 40,
		"renewTime": time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"),
	}
	lease := Object{"spec": spec}
	answer, err := k.api.do(k.ctx, "PATCH", path("Lease", "kube-node-lease", node), mergePatch, lease)
	if err == nil && answer.Code == 404 {
		lease["metadata"] = Object{"name": node}
		_, _ = k.api.do(k.ctx, "POST", path("Lease", "kube-node-lease", ""), plainJSON, lease)
	}
}

// register creates a Node and lets its kubelet report Ready.
func (k *Kubelets) register(node Object, version string) {
	name := nameOf(node)
	// A kubelet registers with its conditions: a node without any would lose its taint at once.
	node = clone(node)
	node["status"].(Object)["conditions"] = []any{Object{"type": "Ready", "status": "False", "reason": "KubeletNotReady"}}
	k.api.must("POST", path("Node", "", ""), plainJSON, node, 409)
	k.mu.Lock()
	k.nodes[name] = &played{up: true, version: version}
	k.mu.Unlock()
	k.renew(name)
	k.report(name, true)
}

// report writes the Ready condition and the version, as a kubelet's first status does.
func (k *Kubelets) report(node string, ready bool) {
	status, reason := "True", "KubeletReady"
	if !ready {
		status, reason = "False", "KubeletNotReady"
	}
	now := time.Now().UTC().Format(time.RFC3339)
	k.mu.Lock()
	version := k.nodes[node].version
	k.mu.Unlock()
	body := Object{"status": Object{
		"conditions": []any{Object{
			"type": "Ready", "status": status, "reason": reason, "lastHeartbeatTime": now, "lastTransitionTime": now,
		}},
		"nodeInfo": Object{"kubeletVersion": version},
	}}
	k.api.must("PATCH", path("Node", "", node, "status"), strategicPatch, body, 404)
}

// down takes the kubelet away: `shutdown` says so first, `silent` does not.
func (k *Kubelets) down(node, mode string) {
	k.mu.Lock()
	k.nodes[node].up = false
	k.mu.Unlock()
	if mode == "shutdown" {
		k.report(node, false)
	}
}

// comeBack starts the kubelet again: the node reports Ready with its new version. After a reboot its containers are started
// anew; a mere restart of the kubelet leaves them alone.
func (k *Kubelets) comeBack(node, version string, rebooted bool) {
	k.mu.Lock()
	k.nodes[node].version = version
	k.mu.Unlock()
	k.renew(node)
	k.report(node, true)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.nodes[node].up = true
	for _, w := range k.pods {
		if w.node == node {
			w.restart = rebooted
			w.wake()
		}
	}
}

func (w *worker) wake() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// observe takes a change of a pod from the watch.
func (k *Kubelets) observe(change Change) {
	if change.Kind != "Pod" || k.passive {
		return
	}
	uid := uidOf(change.Object)
	k.mu.Lock()
	defer k.mu.Unlock()
	w := k.pods[uid]
	if w == nil {
		node := text(change.Object, "spec", "nodeName")
		if node == "" || k.nodes[node] == nil || change.Type == "DELETED" || isFinished(change.Object) {
			return
		}
		w = &worker{node: node, signal: make(chan struct{}, 1), pod: change.Object}
		k.pods[uid] = w
		k.busy++
		go k.lead(w)
		return
	}
	w.pod = change.Object
	if change.Type == "DELETED" {
		w.gone = true
		delete(k.pods, uid)
	}
	w.wake()
}

// setReady lets the probe of a pod fail or pass.
func (k *Kubelets) setReady(pod Object, ready bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if w := k.pods[uidOf(pod)]; w != nil {
		w.wanted = &ready
		w.wake()
	}
}

func (k *Kubelets) isBusy() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.busy > 0
}

const never = time.Duration(1<<62 - 1)

// seconds reads an annotation of the scaled times (DRAINS.md).
func seconds(pod Object, annotation string, otherwise time.Duration, words map[string]time.Duration) time.Duration {
	value := text(pod, "metadata", "annotations", annotation)
	if special, found := words[value]; found {
		return special
	}
	if parsed, err := strconv.ParseFloat(value, 64); err == nil {
		return time.Duration(parsed * float64(time.Second))
	}
	return otherwise
}

// lead takes a pod from its binding to its end.
func (k *Kubelets) lead(w *worker) {
	stays := false // counts as at rest
	rest := func(now bool) {
		if now != stays {
			k.mu.Lock()
			if now {
				k.busy--
			} else {
				k.busy++
			}
			k.mu.Unlock()
			stays = now
		}
	}
	defer rest(true)
	const usual = 200 * time.Millisecond
	words := map[string]time.Duration{"never": never}
	start := seconds(w.pod, "sim/start-seconds", usual, words)
	begin := seconds(w.pod, "sim/ready-seconds", usual, words)
	run := seconds(w.pod, "sim/run-seconds", never, nil)
	if !k.pass(w, start) {
		// Nothing of it has run: the pod goes as it is.
		if !w.gone {
			k.remove(w)
		}
		return
	}
	k.patch(w, "Running", false, nil)
	due := time.Now().Add(begin)
	if begin == never {
		rest(true)
	}
	var ends time.Time
	for {
		k.mu.Lock()
		deleting, gone, restart, wanted, up := isDeleting(w.pod), w.gone, w.restart, w.wanted, k.nodes[w.node].up
		if up {
			w.restart, w.wanted = false, nil
		}
		k.mu.Unlock()
		switch {
		case gone || k.ctx.Err() != nil:
			return
		case !up:
			k.wait(w, 20*time.Millisecond)
			continue
		case deleting:
			k.finish(w, rest)
			return
		case restart:
			rest(false)
			w.restarts++
			k.patch(w, "Running", false, nil)
			if begin != never {
				due = time.Now().Add(begin)
			} else {
				rest(true)
			}
			continue
		case wanted != nil && *wanted != w.ready:
			k.patch(w, "Running", *wanted, nil)
			due = time.Now().Add(never)
			rest(true)
			continue
		}
		now := time.Now()
		if !w.ready && begin != never && !now.Before(due) {
			k.patch(w, "Running", true, nil)
			due = now.Add(never)
			if run != never && ends.IsZero() {
				ends = now.Add(run)
			}
			rest(true)
			continue
		}
		if !ends.IsZero() && !now.Before(ends) {
			code, _ := strconv.Atoi(text(w.pod, "metadata", "annotations", "sim/exit-code"))
			k.patch(w, phaseOf(code), false, &code)
			k.untilDeleted(w)
			return
		}
		next := time.Hour
		if !w.ready && begin != never {
			next = min(next, due.Sub(now))
		}
		if !ends.IsZero() {
			next = min(next, ends.Sub(now))
		}
		k.wait(w, next)
	}
}

// untilDeleted leads a pod that finished by itself: it stays until somebody deletes it.
func (k *Kubelets) untilDeleted(w *worker) {
	for k.ctx.Err() == nil {
		k.mu.Lock()
		deleting, gone, up := isDeleting(w.pod), w.gone, k.nodes[w.node].up
		k.mu.Unlock()
		if gone {
			return
		}
		if deleting && up {
			k.remove(w)
			return
		}
		k.wait(w, 100*time.Millisecond)
	}
}

func phaseOf(code int) string {
	if code == 0 {
		return "Succeeded"
	}
	return "Failed"
}

func (k *Kubelets) wait(w *worker, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-w.signal:
	case <-timer.C:
	case <-k.ctx.Done():
	}
}

// pass lets time go by on a node that is up; false when the pod is deleted before.
func (k *Kubelets) pass(w *worker, d time.Duration) bool {
	end := time.Now().Add(d)
	for {
		k.mu.Lock()
		over, up := isDeleting(w.pod) || w.gone, k.nodes[w.node].up
		k.mu.Unlock()
		left := time.Until(end)
		if k.ctx.Err() != nil || (over && up) || w.gone {
			return false
		}
		if left <= 0 && up {
			return true
		}
		if !up {
			left = 20 * time.Millisecond
		}
		k.wait(w, left)
	}
}

// finish ends a pod that is being deleted: not ready at once, gone when its containers have stopped.
func (k *Kubelets) finish(w *worker, rest func(bool)) {
	rest(false)
	grace := time.Duration(number(w.pod, "metadata", "deletionGracePeriodSeconds")) * time.Second
	stop := seconds(w.pod, "sim/stop-seconds", 200*time.Millisecond, map[string]time.Duration{"ignore": grace})
	if w.ready {
		k.patch(w, "Running", false, nil)
	}
	for end := time.Now().Add(min(stop, grace)); ; {
		k.mu.Lock()
		gone, up := w.gone, k.nodes[w.node].up
		k.mu.Unlock()
		if gone || k.ctx.Err() != nil {
			return
		}
		left := time.Until(end)
		if left <= 0 && up {
			break
		}
		k.wait(w, max(left, 20*time.Millisecond))
	}
	code := 143
	if value, err := strconv.Atoi(text(w.pod, "metadata", "annotations", "sim/stop-exit-code")); err == nil {
		code = value
	}
	k.patch(w, phaseOf(code), false, &code)
	k.remove(w)
}

func (k *Kubelets) remove(w *worker) {
	body := Object{"gracePeriodSeconds": 0, "preconditions": Object{"uid": uidOf(w.pod)}}
	_, _ = k.api.do(k.ctx, "DELETE", path("Pod", namespaceOf(w.pod), nameOf(w.pod)), plainJSON, body)
}

func (k *Kubelets) patch(w *worker, phase string, ready bool, exit *int) {
	w.ready = ready
	k.mu.Lock()
	pod := w.pod
	ip := text(pod, "status", "podIP")
	if ip == "" {
		k.ips++
		ip = fmt.Sprintf("10.100.%d.%d", k.ips/250, k.ips%250+1)
	}
	k.mu.Unlock()
	body := podStatus(pod, phase, ready, exit, ip, w.restarts)
	target := path("Pod", namespaceOf(pod), nameOf(pod), "status")
	// A kubelet does not rest before its status is written.
	for try := 0; k.ctx.Err() == nil; try++ {
		answer, err := k.api.do(k.ctx, "PATCH", target, strategicPatch, body)
		if err == nil && (answer.ok() || answer.Code == 404 || answer.Code == 422) {
			return
		}
		if try >= 50 {
			fmt.Println("kubelet:", keyOf(pod), answer.Code, answer.message(), err)
			return
		}
		k.sleep(100 * time.Millisecond)
	}
}

func podStatus(pod Object, phase string, ready bool, exit *int, ip string, restarts int) Object {
	now := time.Now().UTC().Format(time.RFC3339)
	conditions := []any{Object{"type": "Initialized", "status": "True", "lastTransitionTime": now}}
	for _, kind := range []string{"Ready", "ContainersReady"} {
		one := Object{"type": kind, "status": "True", "reason": nil, "message": nil, "lastTransitionTime": now}
		switch {
		case phase == "Succeeded":
			one["status"], one["reason"] = "False", "PodCompleted"
		case phase == "Failed":
			one["status"], one["reason"] = "False", "PodFailed"
		case !ready:
			one["status"], one["reason"] = "False", "ContainersNotReady"
		}
		conditions = append(conditions, one)
	}
	var statuses []any
	for _, container := range array(pod, "spec", "containers") {
		state := Object{"running": Object{"startedAt": now}}
		if exit != nil {
			reason := "Error"
			if *exit == 0 {
				reason = "Completed"
			}
			state = Object{"terminated": Object{"exitCode": *exit, "reason": reason, "finishedAt": now}}
		}
		statuses = append(statuses, Object{
			"name": text(container, "name"), "image": text(container, "image"), "imageID": "", "ready": ready,
			"started": exit == nil, "restartCount": restarts, "state": state,
		})
	}
	status := Object{
		"phase": phase, "conditions": conditions, "containerStatuses": statuses,
		"podIP": ip, "podIPs": []any{Object{"ip": ip}}, "hostIP": "192.0.2.2",
	}
	if text(pod, "status", "startTime") == "" {
		status["startTime"] = now
	}
	return Object{"metadata": Object{"uid": uidOf(pod)}, "status": status}
}
