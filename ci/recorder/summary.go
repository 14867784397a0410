package main

import (
	"math"
	"sort"
	"strings"
)

// nodeResult is what became of one node.
type nodeResult struct {
	Node  string `json:"node"`
	Drain struct {
		OK      bool    `json:"ok"`
		Seconds float64 `json:"seconds"`
		Error   string  `json:"error,omitempty"`
	} `json:"drain"`
	Left  []Object       `json:"left,omitempty"`
	After map[string]int `json:"after,omitempty"`
}

func (r *recording) finished(result *nodeResult) {
	result.After = r.podsPerNode(r.counted())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, result)
}

// counted are the pods of a placement: neither finished nor of DaemonSets nor mirror pods.
func (r *recording) counted() []Object {
	var found []Object
	for _, pod := range r.watch.all("Pod") {
		kind := text(controller(pod), "kind")
		if !isFinished(pod) && kind != "DaemonSet" && kind != "Node" {
			found = append(found, pod)
		}
	}
	sortByKey(found)
	return found
}

func (r *recording) podsPerNode(pods []Object) map[string]int {
	counts := map[string]int{}
	for _, node := range r.watch.all("Node") {
		counts[nameOf(node)] = 0
	}
	for _, pod := range pods {
		if node := text(pod, "spec", "nodeName"); node != "" {
			counts[node]++
		}
	}
	return counts
}

// left are the pods that a failed drain left, with the last answer of the eviction API.
func (r *recording) left(node string) []Object {
	var found []Object
	for _, pod := range r.choose(&Choice{Node: node}) {
		if text(controller(pod), "kind") == "DaemonSet" {
			continue
		}
		one := Object{
			"pod": keyOf(pod), "owner": r.owners.of(pod), "phase": text(pod, "status", "phase"), "ready": isReady(pod),
			"terminating": isDeleting(pod),
		}
		r.mu.Lock()
		answer, asked := r.answers[keyOf(pod)]
		r.mu.Unlock()
		if asked {
			last := Object{"code": answer.Code}
			if !answer.ok() {
				last["reason"], last["message"] = text(answer.Body, "reason"), answer.message()
				last["causes"] = array(answer.Body, "details", "causes")
			}
			one["last_eviction"] = last
		}
		found = append(found, one)
	}
	return found
}

func skew(counts map[string]int) Object {
	if len(counts) == 0 {
		return Object{"max": 0, "min": 0, "skew": 0, "stddev": 0, "empty_nodes": 0}
	}
	lowest, highest, empty, sum := math.MaxInt, 0, 0, 0
	for _, count := range counts {
		lowest, highest, sum = min(lowest, count), max(highest, count), sum+count
		if count == 0 {
			empty++
		}
	}
	mean, squares := float64(sum)/float64(len(counts)), 0.0
	for _, count := range counts {
		squares += (float64(count) - mean) * (float64(count) - mean)
	}
	deviation := math.Round(math.Sqrt(squares/float64(len(counts)))*1000) / 1000
	return Object{"max": highest, "min": lowest, "skew": highest - lowest, "stddev": deviation, "empty_nodes": empty}
}

func (r *recording) placement(pods []Object) Object {
	workloads, zones, pending := map[string]map[string]int{}, map[string]int{}, []Object{}
	for _, pod := range pods {
		node := text(pod, "spec", "nodeName")
		owner := namespaceOf(pod) + "/" + r.owners.of(pod)
		if node == "" {
			pending = append(pending, Object{
				"pod": keyOf(pod), "owner": owner, "message": text(condition(pod, "PodScheduled"), "message"),
			})
			continue
		}
		if workloads[owner] == nil {
			workloads[owner] = map[string]int{}
		}
		workloads[owner][node]++
		zone := text(r.watch.get("Node", "", node), "metadata", "labels", "topology.kubernetes.io/zone")
		if zone != "" {
			zones[zone]++
		}
	}
	shown := Object{}
	for owner, counts := range workloads {
		all := r.podsPerNode(nil)
		for node, count := range counts {
			all[node] = count
		}
		shown[owner] = Object{"per_node": counts, "skew": skew(all)}
	}
	perNode := r.podsPerNode(pods)
	placement := Object{"pods_per_node": perNode, "skew": skew(perNode), "workloads": shown, "pending": pending}
	if len(zones) > 0 {
		placement["pods_per_zone"] = zones
	}
	return placement
}

// readiness follows the Ready pods of every owner through a trace.
type readiness struct {
	owner map[string]string // uid -> ns/Owner
	ready map[string]bool
	count map[string]int
	least map[string]int
}

func (r *recording) readiness(before []Object) *readiness {
	found := &readiness{
		owner: map[string]string{}, ready: map[string]bool{}, count: map[string]int{}, least: map[string]int{},
	}
	for _, pod := range before {
		found.set(pod, namespaceOf(pod)+"/"+r.owners.of(pod), isReady(pod) && !isDeleting(pod))
	}
	for owner, count := range found.count {
		found.least[owner] = count
	}
	return found
}

func (f *readiness) set(pod Object, owner string, ready bool) {
	uid := uidOf(pod)
	was := f.ready[uid]
	f.ready[uid] = ready
	f.count[owner] += b2i(ready) - b2i(was)
	if least, known := f.least[owner]; !known || f.count[owner] < least {
		f.least[owner] = f.count[owner]
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (r *recording) summary(outcome string, run int, stable, finalStable bool, before []Object, trace []line) Object {
	pods := r.readiness(before)
	initialReady := copied(pods.count)
	finalReady := map[string]int{}
	slices := countEndpoints(r.owners.slicesBefore)
	initialEndpoints, leastEndpoints, finalEndpoints := map[string]int{}, map[string]int{}, map[string]int{}
	for service, counted := range slices {
		if service == "default/kubernetes" {
			continue
		}
		initialEndpoints[service], leastEndpoints[service], finalEndpoints[service] = counted[0], counted[0], counted[0]
	}
	created, preempted := 0, 0
	for _, one := range trace {
		switch one.fields["ev"] {
		case "pod.created":
			created++
		case "pod.disruptionTarget":
			if one.fields["reason"] == "PreemptionByScheduler" {
				preempted++
			}
		case "endpoints":
			service := one.fields["ns"].(string) + "/" + one.fields["service"].(string)
			ready := one.fields["ready"].(int)
			if least, known := leastEndpoints[service]; !known || ready < least {
				leastEndpoints[service] = ready
			}
			finalEndpoints[service] = ready
		}
	}
	ended := r.ownLines[len(r.ownLines)-1].revision
	changes := r.watch.after(0)
	sort.SliceStable(changes, func(i, j int) bool { return changes[i].Revision < changes[j].Revision })
	first := uint64(math.MaxUint64)
	if len(r.ownLines) > 0 {
		first = r.ownLines[0].revision
	}
	for _, change := range changes {
		if change.Kind == "Pod" && change.Revision > first && change.Revision <= ended {
			pod := change.Object
			pods.set(pod, namespaceOf(pod)+"/"+r.owners.of(pod), change.Type != "DELETED" && isReady(pod) && !isDeleting(pod))
		}
	}
	for owner, count := range pods.count {
		if count > 0 || r.exists(owner) {
			finalReady[owner] = count
		}
	}
	leastReady := map[string]int{}
	for owner := range initialReady {
		leastReady[owner] = pods.least[owner]
	}
	requests, refused := 0, 0
	for code, count := range r.requests {
		requests += count
		if code != "201" {
			refused += count
		}
	}
	blocked := []Object{}
	for _, result := range r.results {
		blocked = append(blocked, result.Left...)
	}
	return Object{
		"scenario": r.scenario.Name, "kind": r.scenario.Kind, "run": run, "driver": "loop", "outcome": outcome,
		"duration_seconds": r.since(r.ownLines[len(r.ownLines)-1].seen), "initial_stable": stable, "final_stable": finalStable,
		"evictions":     Object{"requests": requests, "by_code": r.requests, "refused": refused},
		"initial_ready": initialReady, "min_ready": leastReady, "final_ready": finalReady,
		"initial_ready_endpoints": initialEndpoints, "min_ready_endpoints": leastEndpoints,
		"final_ready_endpoints": finalEndpoints, "nodes": r.results,
		"initial_placement": r.placement(placed(before)), "final_placement": r.placement(r.counted()),
		"pods_created": created, "preempted": preempted, "blocked_pods": blocked, "final_status": r.finalStatus(),
	}
}

func placed(pods []Object) []Object {
	var found []Object
	for _, pod := range pods {
		kind := text(controller(pod), "kind")
		if !isFinished(pod) && kind != "DaemonSet" && kind != "Node" {
			found = append(found, pod)
		}
	}
	return found
}

func copied(counts map[string]int) map[string]int {
	found := map[string]int{}
	for key, count := range counts {
		found[key] = count
	}
	return found
}

// exists: the owner (ns/Kind/name) is still there.
func (r *recording) exists(owner string) bool {
	parts := strings.SplitN(owner, "/", 3)
	if len(parts) != 3 {
		return false
	}
	kind := parts[1]
	return r.watch.get(kind, parts[0], parts[2]) != nil
}

// finalStatus are the integers in the status of controllers and budgets.
func (r *recording) finalStatus() Object {
	found := Object{}
	kinds := []string{"Deployment", "StatefulSet", "DaemonSet", "ReplicationController", "Job", "PodDisruptionBudget"}
	for _, kind := range kinds {
		for _, object := range r.watch.all(kind) {
			counts := Object{}
			status, _ := object["status"].(Object)
			for field, value := range status {
				if count, isNumber := value.(float64); isNumber {
					counts[field] = count
				}
			}
			found[namespaceOf(object)+"/"+kind+"/"+nameOf(object)] = counts
		}
	}
	return found
}
