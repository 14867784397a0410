package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"
)

// line is one line of a trace before it is written.
type line struct {
	revision uint64
	own      bool // of the recorder itself: stands after all changes of its revision
	order    int
	seen     time.Time
	fields   Object
}

// lines turns the changes since the snapshot into trace events and mixes the recorder's own into them.
func lines(changes []Change, own []line, owners *owners) []line {
	var found []line
	endpoints := map[string]string{}
	slices := map[string]Object{}
	for name, slice := range owners.slicesBefore {
		slices[name] = slice
	}
	for service, counted := range countEndpoints(slices) {
		endpoints[service] = fmt.Sprint(counted)
	}
	for _, change := range changes {
		add := func(fields Object) {
			found = append(found, line{revision: change.Revision, order: len(found), seen: change.Seen, fields: fields})
		}
		switch change.Kind {
		case "Pod":
			podEvents(change, owners, add)
		case "Node":
			nodeEvents(change, add)
		case "PodDisruptionBudget":
			budgetEvents(change, add)
		case "EndpointSlice":
			key := keyOf(change.Object)
			if slices[key] = change.Object; change.Type == "DELETED" {
				delete(slices, key)
			}
			service := namespaceOf(change.Object) + "/" + text(change.Object, "metadata", "labels", serviceLabel)
			counted := countEndpoints(slices)[service]
			if shown := fmt.Sprint(counted); shown != endpoints[service] {
				endpoints[service] = shown
				add(Object{
					"ev": "endpoints", "ns": namespaceOf(change.Object), "service": strings.SplitN(service, "/", 2)[1],
					"ready": counted[0], "serving": counted[1], "terminating": counted[2], "total": counted[3],
				})
			}
		case "Job":
			jobEvents(change, add)
		case "Event":
			coreEvent(change, add)
		}
	}
	for _, one := range own {
		one.order += len(found)
		found = append(found, one)
	}
	sort.SliceStable(found, func(i, j int) bool {
		a, b := found[i], found[j]
		if a.revision != b.revision {
			return a.revision < b.revision
		}
		if a.own != b.own {
			return b.own
		}
		return a.order < b.order
	})
	return found
}

const serviceLabel = "kubernetes.io/service-name"

// countEndpoints sums ready, serving, terminating and all endpoints per namespace/service.
func countEndpoints(slices map[string]Object) map[string][4]int {
	found := map[string][4]int{}
	for _, slice := range slices {
		service := namespaceOf(slice) + "/" + text(slice, "metadata", "labels", serviceLabel)
		counted := found[service]
		for _, endpoint := range array(slice, "endpoints") {
			for i, what := range []string{"ready", "serving", "terminating"} {
				if truth(endpoint, "conditions", what) {
					counted[i]++
				}
			}
			counted[3]++
		}
		found[service] = counted
	}
	return found
}

func podEvents(change Change, owners *owners, add func(Object)) {
	pod, before := change.Object, change.Before
	event := func(what string, more Object) {
		fields := Object{"ev": "pod." + what, "ns": namespaceOf(pod), "pod": nameOf(pod)}
		for key, value := range more {
			fields[key] = value
		}
		add(fields)
	}
	node := text(pod, "spec", "nodeName")
	owner := owners.of(pod)
	if change.Type == "DELETED" {
		// The last revision may bring more than the end: a deletion without grace is seen only here.
		event("gone", Object{"phase": text(pod, "status", "phase"), "node": node, "owner": owner})
		return
	}
	if before == nil || uidOf(before) != uidOf(pod) {
		before = Object{}
		more := Object{"owner": owner}
		if direct := controller(pod); direct != nil {
			more["controller"] = text(direct, "kind") + "/" + text(direct, "name")
		}
		for _, label := range []string{"apps.kubernetes.io/pod-index", "batch.kubernetes.io/job-completion-index"} {
			if index := text(pod, "metadata", "labels", label); index != "" {
				more["index"] = index
			}
		}
		event("created", more)
	}
	if node != "" && text(before, "spec", "nodeName") == "" {
		event("bound", Object{"node": node, "owner": owner})
	}
	scheduled, scheduledBefore := condition(pod, "PodScheduled"), condition(before, "PodScheduled")
	if text(scheduled, "status") == "False" && text(scheduled, "message") != text(scheduledBefore, "message") {
		event("unschedulable", Object{"reason": text(scheduled, "reason"), "message": text(scheduled, "message")})
	}
	if nominated := text(pod, "status", "nominatedNodeName"); nominated != text(before, "status", "nominatedNodeName") {
		event("nominated", Object{"node": nominated})
	}
	if target := condition(pod, "DisruptionTarget"); text(target, "status") == "True" &&
		text(target, "reason") != text(condition(before, "DisruptionTarget"), "reason") {
		event("disruptionTarget", Object{"reason": text(target, "reason")})
	}
	if isDeleting(pod) && !isDeleting(before) {
		more := Object{"grace": number(pod, "metadata", "deletionGracePeriodSeconds"), "node": node}
		if target := condition(pod, "DisruptionTarget"); target != nil {
			more["reason"] = text(target, "reason")
		}
		event("deleting", more)
	}
	if phase := text(pod, "status", "phase"); len(before) > 0 && phase != text(before, "status", "phase") {
		event(strings.ToLower(phase), Object{"node": node})
	}
	ready, was := isReady(pod), isReady(before)
	if ready && !was {
		event("ready", Object{"node": node})
	}
	if !ready && was {
		more := Object{"node": node}
		if reason := text(condition(pod, "Ready"), "reason"); reason != "" {
			more["reason"] = reason
		}
		if isDeleting(pod) {
			more["terminating"] = true
		}
		event("notready", more)
	}
}

func taints(node Object) []string {
	found := []string{}
	for _, taint := range array(node, "spec", "taints") {
		shown := text(taint, "key")
		if value := text(taint, "value"); value != "" {
			shown += "=" + value
		}
		found = append(found, shown+":"+text(taint, "effect"))
	}
	sort.Strings(found)
	return found
}

func nodeEvents(change Change, add func(Object)) {
	node, before := change.Object, change.Before
	event := func(what string, more Object) {
		fields := Object{"ev": "node." + what, "node": nameOf(node)}
		for key, value := range more {
			fields[key] = value
		}
		add(fields)
	}
	if change.Type == "DELETED" {
		event("gone", nil)
		return
	}
	created := before == nil
	if created {
		event("created", nil)
	}
	if cordoned := truth(node, "spec", "unschedulable"); cordoned != truth(before, "spec", "unschedulable") {
		if cordoned {
			event("cordoned", nil)
		} else {
			event("uncordoned", nil)
		}
	}
	ready, was := condition(node, "Ready"), condition(before, "Ready")
	if status := text(ready, "status"); status != text(was, "status") {
		what := "notready"
		if status == "True" {
			what = "ready"
		}
		event(what, Object{"status": status, "reason": text(ready, "reason")})
	}
	version := text(node, "status", "nodeInfo", "kubeletVersion")
	if created || version != text(before, "status", "nodeInfo", "kubeletVersion") {
		event("version", Object{"version": version})
	}
	if shown := taints(node); created && len(shown) > 0 || !created && fmt.Sprint(shown) != fmt.Sprint(taints(before)) {
		event("taints", Object{"taints": shown})
	}
}

func budgetEvents(change Change, add func(Object)) {
	budget := change.Object
	if change.Type == "DELETED" {
		add(Object{"ev": "pdb.gone", "ns": namespaceOf(budget), "pdb": nameOf(budget)})
		return
	}
	status, _ := json.Marshal(at(budget, "status"))
	before, _ := json.Marshal(at(change.Before, "status"))
	if bytes.Equal(status, before) || number(budget, "status", "observedGeneration") == 0 {
		return
	}
	fields := Object{"ev": "pdb.status", "ns": namespaceOf(budget), "pdb": nameOf(budget)}
	counts := []string{"currentHealthy", "desiredHealthy", "expectedPods", "disruptionsAllowed", "observedGeneration"}
	for _, field := range counts {
		fields[field] = number(budget, "status", field)
	}
	if names := disrupted(budget); len(names) > 0 {
		fields["disruptedPods"] = names
	}
	if allowed := condition(budget, "DisruptionAllowed"); allowed != nil {
		shown := []string{text(allowed, "status"), text(allowed, "reason")}
		if message := text(allowed, "message"); message != "" {
			shown = append(shown, message)
		}
		fields["condition"] = shown
	}
	add(fields)
}

func disrupted(budget Object) []string {
	names := []string{}
	pods, _ := at(budget, "status", "disruptedPods").(Object)
	for name := range pods {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

func jobEvents(change Change, add func(Object)) {
	job := change.Object
	fields := Object{"ns": namespaceOf(job), "job": nameOf(job)}
	if change.Type == "DELETED" {
		fields["ev"] = "job.gone"
		add(fields)
		return
	}
	show := func(job Object) Object {
		shown := Object{}
		for _, field := range []string{"active", "ready", "succeeded", "failed", "terminating"} {
			if count := number(job, "status", field); count != 0 {
				shown[field] = count
			}
		}
		var conditions []string
		for _, one := range array(job, "status", "conditions") {
			if text(one, "status") == "True" {
				conditions = append(conditions, text(one, "type")+":"+text(one, "reason"))
			}
		}
		if len(conditions) > 0 {
			shown["conditions"] = conditions
		}
		return shown
	}
	now := show(job)
	if change.Before != nil && fmt.Sprint(now) == fmt.Sprint(show(change.Before)) {
		return
	}
	for key, value := range now {
		fields[key] = value
	}
	fields["ev"] = "job.status"
	if owner := controller(job); owner != nil {
		fields["owner"] = text(owner, "kind") + "/" + text(owner, "name")
	}
	add(fields)
}

var coreEvents = map[string]bool{
	"TaintManagerEviction": true, "Preempted": true, "NoPods": true, "NodeNotReady": true, "Completed": true,
	"BackoffLimitExceeded": true, "CalculateExpectedPodCountFailed": true,
}

func coreEvent(change Change, add func(Object)) {
	event := change.Object
	reason := text(event, "reason")
	if change.Type == "DELETED" || !coreEvents[reason] {
		return
	}
	object := text(event, "involvedObject", "kind") + "/" + text(event, "involvedObject", "name")
	add(Object{"ev": "event", "object": object, "reason": reason, "message": text(event, "message")})
}

// owners knows the topmost controller of every pod.
type owners struct {
	parents      map[string]string // namespace/Kind/name -> Kind/name
	slicesBefore map[string]Object
}

func (o *owners) learn(kind string, object Object) {
	if owner := controller(object); owner != nil {
		o.parents[namespaceOf(object)+"/"+kind+"/"+nameOf(object)] = text(owner, "kind") + "/" + text(owner, "name")
	}
}

func (o *owners) of(pod Object) string {
	direct := controller(pod)
	if direct == nil {
		return "Pod/" + nameOf(pod)
	}
	top := text(direct, "kind") + "/" + text(direct, "name")
	for parent := top; parent != ""; parent = o.parents[namespaceOf(pod)+"/"+parent] {
		top = parent
	}
	return top
}

func round(seconds float64) float64 { return float64(int64(seconds*1000+0.5)) / 1000 }

// writeTrace writes one event a line, revision, time and kind first.
func writeTrace(file string, all []line, snapshot time.Time) error {
	var out bytes.Buffer
	for _, one := range all {
		head := fmt.Sprintf(`{"rv":%d,"t":%v,"ev":%q`, one.revision, round(one.seen.Sub(snapshot).Seconds()), one.fields["ev"])
		delete(one.fields, "ev")
		rest := marshal(one.fields)
		out.WriteString(head)
		if len(one.fields) > 0 {
			out.WriteByte(',')
		}
		out.Write(rest[1:])
		out.WriteByte('\n')
	}
	return os.WriteFile(file, out.Bytes(), 0o644)
}

// marshal is JSON as it is read by people: `<` stays `<`.
func marshal(value any) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		panic(failure("%v", err))
	}
	return bytes.TrimSpace(out.Bytes())
}
