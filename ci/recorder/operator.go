package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The loop driver: cordon, drain like kubectl's helper, host away and back, uncordon (DRAINS.md).

func (r *recording) schedulable(node string, schedulable bool) {
	body := Object{"spec": Object{"unschedulable": !schedulable}}
	if schedulable {
		body = Object{"spec": Object{"unschedulable": nil}}
	}
	r.api.must("PATCH", path("Node", "", node), mergePatch, body, 404)
}

// roll goes through the nodes; the outcome is that of a summary.
func (r *recording) roll() string {
	o := r.scenario.Options
	nodes := o.Order
	if len(nodes) == 0 {
		for _, node := range r.scenario.Nodes.objects() {
			nodes = append(nodes, nameOf(node))
		}
	}
	if o.MaxNodes > 0 && len(nodes) > o.MaxNodes {
		nodes = nodes[:o.MaxNodes]
	}
	r.trigger("start")
	outcome := "ok"
	for len(nodes) > 0 {
		batch := nodes[:min(o.Concurrency, len(nodes))]
		nodes = nodes[len(batch):]
		failed := make([]bool, len(batch))
		var together sync.WaitGroup
		for i, node := range batch {
			together.Add(1)
			go func() {
				defer together.Done()
				if err := attempt(func() { failed[i] = !r.upgrade(node) }); err != nil {
					r.fail(err)
				}
			}()
		}
		together.Wait()
		r.check()
		for _, one := range failed {
			if one && o.OnBlocked == "stop" {
				return "blocked"
			}
			if one {
				outcome = "completed-with-failures"
			}
		}
	}
	return outcome
}

// upgrade takes one node through; false when its drain failed.
func (r *recording) upgrade(node string) bool {
	o := r.scenario.Options
	step := func(what string, more Object) {
		fields := Object{"ev": "step", "what": what, "node": node}
		for key, value := range more {
			fields[key] = value
		}
		r.own(fields)
	}
	result := &nodeResult{Node: node}
	defer func() { r.finished(result) }()
	r.trigger("node:" + node)
	step("cordon", nil)
	r.schedulable(node, false)
	step("drain-start", Object{"driver": "loop"})
	began := time.Now()
	problem := r.drain(node)
	result.Drain.Seconds = float64(int(time.Since(began).Seconds()*100)) / 100
	result.Drain.OK = problem == ""
	ending := Object{"ok": problem == ""}
	if problem != "" {
		ending["error"] = problem
		result.Drain.Error = problem
		result.Left = r.left(node)
	}
	step("drain-end", ending)
	uncordon := func() {
		step("uncordon", nil)
		r.schedulable(node, true)
		r.trigger("after:" + node)
		between := 0.3
		if o.Between != nil {
			between = *o.Between
		}
		time.Sleep(time.Duration(between * float64(time.Second)))
	}
	if problem != "" && o.OnBlocked == "stop" {
		return false
	}
	if problem != "" && o.OnBlocked == "uncordon" {
		uncordon()
		return false
	}
	step("down", Object{"mode": o.Down.Mode})
	object := r.watch.get("Node", "", node)
	switch o.Down.Mode {
	case "shutdown", "silent":
		r.kubelets.down(node, o.Down.Mode)
	case "delete":
		r.kubelets.down(node, "silent")
		r.api.must("DELETE", path("Node", "", node), plainJSON, Object{}, 404)
	}
	away := 0.8
	if o.Down.Seconds != nil {
		away = *o.Down.Seconds
	}
	if o.Down.Mode != "none" {
		time.Sleep(time.Duration(away * float64(time.Second)))
	}
	step("up", Object{"version": o.NewVersion})
	if o.Down.Mode == "delete" {
		for _, fresh := range r.scenario.Nodes.objects() {
			if nameOf(fresh) == nameOf(object) {
				r.kubelets.register(fresh, o.NewVersion)
			}
		}
	} else {
		r.kubelets.comeBack(node, o.NewVersion, o.Down.Mode != "none")
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		shown := strings.Join(taints(r.watch.get("Node", "", node)), " ")
		if !strings.Contains(shown, "node.kubernetes.io/not-ready") &&
			!strings.Contains(shown, "node.kubernetes.io/unreachable") && isReady(r.watch.get("Node", "", node)) {
			break
		}
	}
	uncordon()
	return problem == ""
}

// drain empties a node; "" or what went wrong.
func (r *recording) drain(node string) string {
	o := r.scenario.Options
	yes := func(flag *bool) bool { return flag == nil || *flag }
	var evicted []Object
	refusals := map[string][]string{}
	for _, pod := range r.choose(&Choice{Node: node}) {
		owner := controller(pod)
		_, mirror := at(pod, "metadata", "annotations", "kubernetes.io/config.mirror").(string)
		emptyDir := false
		for _, volume := range array(pod, "spec", "volumes") {
			emptyDir = emptyDir || at(volume, "emptyDir") != nil
		}
		refuse := func(why string) { refusals[why] = append(refusals[why], keyOf(pod)) }
		switch {
		case isDeleting(pod) && o.Flags.SkipWait > 0 && r.deletingFor(pod) > time.Duration(o.Flags.SkipWait)*time.Second:
		case text(owner, "kind") == "DaemonSet" && !isFinished(pod):
			if !yes(o.Flags.IgnoreDaemonSets) {
				refuse("cannot delete DaemonSet-managed Pods (use --ignore-daemonsets to ignore)")
			}
		case mirror:
		case isFinished(pod):
			evicted = append(evicted, pod)
		case emptyDir && !yes(o.Flags.DeleteEmptyDir):
			refuse("cannot delete Pods with local storage (use --delete-emptydir-data to override)")
		case owner == nil && !o.Flags.Force:
			refuse("cannot delete Pods that declare no controller (use --force to override)")
		default:
			evicted = append(evicted, pod)
		}
	}
	if len(refusals) > 0 {
		var shown []string
		for why, pods := range refusals {
			shown = append(shown, why+": "+strings.Join(pods, ", "))
		}
		sortStrings(shown)
		return strings.Join(shown, "; ")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(o.DrainTimeout*float64(time.Second)))
	defer cancel()
	problems := make([]string, len(evicted))
	if o.EvictOrder == "serial" {
		for i, pod := range evicted {
			problems[i] = r.leave(ctx, pod)
		}
	} else {
		var together sync.WaitGroup
		for i, pod := range evicted {
			together.Add(1)
			go func() {
				defer together.Done()
				if err := attempt(func() { problems[i] = r.leave(ctx, pod) }); err != nil {
					r.fail(err)
				}
			}()
		}
		together.Wait()
	}
	var shown []string
	for _, problem := range problems {
		if problem != "" {
			shown = append(shown, problem)
		}
	}
	return strings.Join(shown, "; ")
}

func (r *recording) deletingFor(pod Object) time.Duration {
	since, err := time.Parse(time.RFC3339, text(pod, "metadata", "deletionTimestamp"))
	if err != nil {
		return 0
	}
	return time.Since(since)
}

// leave evicts a pod and waits until it is gone.
func (r *recording) leave(ctx context.Context, pod Object) string {
	for number := 1; ; number++ {
		code, again := r.evict(pod, number)
		if code == 404 {
			return ""
		}
		if code >= 200 && code < 300 {
			break
		}
		if !again {
			return fmt.Sprintf("%s: error %d", keyOf(pod), code)
		}
		select {
		case <-ctx.Done():
			return keyOf(pod) + ": global timeout reached"
		case <-time.After(time.Duration(r.scenario.Options.RetrySeconds * float64(time.Second))):
		}
		if ctx.Err() != nil {
			return keyOf(pod) + ": global timeout reached"
		}
	}
	for {
		found := r.watch.get("Pod", namespaceOf(pod), nameOf(pod))
		if found == nil || uidOf(found) != uidOf(pod) {
			return ""
		}
		skip := r.scenario.Options.Flags.SkipWait
		if skip > 0 && isDeleting(found) && r.deletingFor(found) > time.Duration(skip)*time.Second {
			return ""
		}
		select {
		case <-ctx.Done():
			return keyOf(pod) + ": waiting for pod to terminate: global timeout reached"
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// evict sends one request and records it; `again`: a later one may pass.
func (r *recording) evict(pod Object, attempt int) (code int, again bool) {
	namespace, name := namespaceOf(pod), nameOf(pod)
	options := Object{}
	if grace := r.scenario.Options.Flags.Grace; grace != nil {
		options["gracePeriodSeconds"] = *grace
	}
	if r.scenario.Options.Flags.DisableEviction {
		return r.api.must("DELETE", path("Pod", namespace, name), plainJSON, options, 404).Code, false
	}
	body := Object{
		"apiVersion": "policy/v1", "kind": "Eviction", "metadata": Object{"name": name, "namespace": namespace},
	}
	if len(options) > 0 {
		body["deleteOptions"] = options
	}
	revision, began := r.api.revision(), time.Now()
	answer, err := r.api.do(context.Background(), "POST", path("Pod", namespace, name, "eviction"), plainJSON, body)
	if err != nil {
		panic(failure("eviction of %s/%s: %v", namespace, name, err))
	}
	fields := Object{
		"ev": "evict", "ns": namespace, "pod": name, "code": answer.Code, "n": attempt, "via": "loop",
		"status": text(answer.Body, "status"), "rv_hi": r.api.revision(), "t_end": r.since(time.Now()),
	}
	if !answer.ok() {
		fields["reason"], fields["message"] = text(answer.Body, "reason"), answer.message()
		if causes := array(answer.Body, "details", "causes"); len(causes) > 0 {
			fields["causes"] = causes
		}
		if after := number(answer.Body, "details", "retryAfterSeconds"); after != 0 {
			fields["retryAfterSeconds"] = after
		}
		if header := answer.Header.Get("Retry-After"); header != "" {
			fields["retry_after_header"], _ = strconv.Atoi(header)
		}
	}
	r.ownAt(revision, began, fields)
	r.noteEviction(keyOf(pod), answer)
	terminating := false
	for _, cause := range array(answer.Body, "details", "causes") {
		terminating = terminating || text(cause, "reason") == "NamespaceTerminating"
	}
	return answer.Code, answer.Code == 429 || answer.Code == 403 && terminating
}
