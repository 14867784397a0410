package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"
)

// recording is one run of one scenario.
type recording struct {
	scenario   *Scenario
	version    string
	api        *API
	watch      *Watch
	kubelets   *Kubelets
	owners     *owners
	background sync.WaitGroup

	mu       sync.Mutex
	start    time.Time
	ownLines []line
	answers  map[string]Answer // last answer of the eviction API per pod
	requests map[string]int    // by code
	results  []*nodeResult
	brokenBy error
}

func (r *recording) since(t time.Time) float64 { return round(t.Sub(r.start).Seconds()) }

// own records something that the recorder is about to do.
func (r *recording) own(fields Object) { r.ownAt(r.api.revision(), time.Now(), fields) }

func (r *recording) ownAt(revision uint64, seen time.Time, fields Object) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ownLines = append(r.ownLines, line{revision: revision, own: true, order: len(r.ownLines), seen: seen, fields: fields})
}

func (r *recording) noteEviction(pod string, answer Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answers[pod] = answer
	r.requests[fmt.Sprint(answer.Code)]++
}

func (r *recording) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.brokenBy = err
}

func (r *recording) check() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.brokenBy != nil {
		panic(failure("%v", r.brokenBy))
	}
}

// settle waits until nothing moves any more; false when it does not come to that in time.
func (r *recording) settle(quiet, patience time.Duration) bool {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if r.watch.quietFor() >= quiet && !r.kubelets.isBusy() && r.isComplete() {
			return true
		}
	}
	return false
}

func (r *recording) longestMinReady() time.Duration {
	longest := 0
	for _, object := range r.scenario.Objects {
		longest = max(longest, number(object, "spec", "minReadySeconds"))
	}
	return time.Duration(longest) * time.Second
}

// isComplete: every controller has made what it wants, and nothing is on its way out.
func (r *recording) isComplete() bool {
	for _, kind := range []string{"Deployment", "ReplicaSet", "StatefulSet", "ReplicationController"} {
		for _, object := range r.watch.all(kind) {
			if number(object, "status", "observedGeneration") < number(object, "metadata", "generation") {
				return false
			}
		}
	}
	for _, budget := range r.watch.all("PodDisruptionBudget") {
		if number(budget, "status", "observedGeneration") == 0 {
			return false
		}
	}
	return true
}

// begin makes the cluster of a scenario. end stops what plays in it.
func begin(plane *Plane, scenario *Scenario, version string) (r *recording, end func()) {
	if scenario.Options.NewVersion == "" {
		scenario.Options.NewVersion = version
	}
	r = &recording{
		scenario: scenario, version: version, api: plane.api,
		owners:  &owners{parents: map[string]string{}, slicesBefore: map[string]Object{}},
		answers: map[string]Answer{}, requests: map[string]int{},
	}
	r.kubelets = startKubelets(plane.api, false)
	r.watch = startWatch(plane.api, r.kubelets.observe)
	for _, node := range scenario.Nodes.objects() {
		r.kubelets.register(node, scenario.Options.OldVersion)
	}
	r.awaitNodes()
	for _, object := range scenario.Objects {
		if text(object, "kind") == "Namespace" {
			r.create(object)
		}
	}
	r.namespaces()
	for _, object := range scenario.Objects {
		if text(object, "kind") != "Namespace" {
			r.create(object)
		}
	}
	for _, pod := range scenario.MirrorPods {
		r.create(r.mirrored(pod))
	}
	return r, func() {
		r.watch.stop()
		r.kubelets.stop()
	}
}

// recordDrain plays a scenario and writes its files.
func recordDrain(plane *Plane, scenario *Scenario, version, folder string, run int) {
	r, end := begin(plane, scenario, version)
	defer end()
	// A pod becomes available without any change of an object.
	quiet := 1500*time.Millisecond + r.longestMinReady()
	stable := r.settle(quiet, 40*time.Second)
	for _, action := range scenario.Before {
		r.perform(action)
	}
	if len(scenario.Before) > 0 {
		time.Sleep(300 * time.Millisecond)
		stable = r.settle(quiet, 15*time.Second)
	}
	objects, revision := r.snapshot()
	r.start = time.Now()
	before := r.watch.all("Pod")
	outcome := r.roll()
	together := make(chan struct{})
	go func() { r.background.Wait(); close(together) }()
	select {
	case <-together:
	case <-time.After(30 * time.Second):
	}
	finalStable := r.settle(900*time.Millisecond, 6*time.Second)
	r.own(Object{"ev": "step", "what": "end"})
	r.check()
	time.Sleep(50 * time.Millisecond)
	ended := r.ownLines[len(r.ownLines)-1]
	changes := r.watch.after(revision)
	for _, kind := range []string{"ReplicaSet", "Job"} {
		for _, change := range changes {
			if change.Kind == kind {
				r.owners.learn(kind, change.Object)
			}
		}
	}
	var until []Change
	for _, change := range changes {
		if change.Revision <= ended.revision {
			until = append(until, change)
		}
	}
	trace := lines(until, r.ownLines, r.owners)
	target := filepath.Join(folder, scenario.Name)
	// Times of the API have seconds, and so has this one.
	initial := Object{"time": r.start.UTC().Format(time.RFC3339Nano), "controlPlane": version, "resourceVersion": revision, "stable": stable, "objects": objects}
	summary := r.summary(outcome, run, stable, finalStable, before, trace)
	if err := os.MkdirAll(target, 0o755); err != nil {
		panic(failure("%v", err))
	}
	file := func(what string) string { return filepath.Join(target, fmt.Sprintf("run%d.%s", run, what)) }
	for name, content := range map[string][]byte{
		filepath.Join(target, "scenario.yaml"): scenario.file,
		file("initial.json"):                   append(marshal(initial), '\n'),
		file("summary.json"):                   append(marshal(summary), '\n'),
	} {
		if err := os.WriteFile(name, content, 0o644); err != nil {
			panic(failure("%v", err))
		}
	}
	if err := writeTrace(file("trace.jsonl"), trace, r.start); err != nil {
		panic(failure("%v", err))
	}
	fmt.Printf("%-40s %-10s %5.1f s, %d events\n", scenario.Name, outcome, time.Since(r.start).Seconds(), len(trace))
}

// awaitNodes waits until the node lifecycle controller has taken the taints of new nodes away.
func (r *recording) awaitNodes() {
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		ready := len(r.watch.all("Node")) >= r.scenario.Nodes.Count
		for _, node := range r.watch.all("Node") {
			ready = ready && !strings.Contains(strings.Join(taints(node), " "), "node.kubernetes.io/not-ready")
		}
		if ready {
			return
		}
	}
	panic(failure("the nodes did not become ready"))
}

// namespaces creates those that objects name and nobody made.
func (r *recording) namespaces() {
	made := map[string]bool{"": true, "default": true, "kube-system": true}
	for _, object := range r.scenario.Objects {
		if text(object, "kind") == "Namespace" {
			made[nameOf(object)] = true
		}
	}
	for _, object := range append(append([]Object{}, r.scenario.Objects...), r.scenario.MirrorPods...) {
		if namespace := namespaceOf(object); !made[namespace] {
			made[namespace] = true
			r.create(Object{"apiVersion": "v1", "kind": "Namespace", "metadata": Object{"name": namespace}})
		}
	}
}

// mirrored gives a pod what makes it a mirror pod of its node.
func (r *recording) mirrored(pod Object) Object {
	pod = clone(pod)
	node := text(pod, "spec", "nodeName")
	metadata := pod["metadata"].(Object)
	annotations, _ := metadata["annotations"].(Object)
	if annotations == nil {
		annotations = Object{}
		metadata["annotations"] = annotations
	}
	annotations["kubernetes.io/config.mirror"] = "sim"
	annotations["kubernetes.io/config.source"] = "file"
	metadata["ownerReferences"] = []any{Object{
		"apiVersion": "v1", "kind": "Node", "name": node, "controller": true, "uid": uidOf(r.watch.get("Node", "", node)),
	}}
	return pod
}

// clear removes everything that a scenario made.
func clear(api *API) {
	kinds := []string{
		"CronJob", "Deployment", "StatefulSet", "DaemonSet", "Job", "ReplicationController", "ReplicaSet",
		"PodDisruptionBudget", "Service", "Pod", "PersistentVolumeClaim", "PersistentVolume", "EndpointSlice", "Node",
		"StorageClass", "PriorityClass", "Lease", "Event", "CSINode",
	}
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		left := 0
		for _, kind := range kinds {
			objects, _ := api.list(kind)
			for _, object := range objects {
				if isSystem(kind, object) || kind == "Lease" && namespaceOf(object) != "kube-node-lease" {
					continue
				}
				left++
				target := path(kind, namespaceOf(object), nameOf(object))
				if len(array(object, "metadata", "finalizers")) > 0 {
					api.must("PATCH", target, mergePatch, Object{"metadata": Object{"finalizers": nil}}, 404, 409, 422)
				}
				options := Object{"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
				api.must("DELETE", target, plainJSON, options, 404, 409)
			}
		}
		objects, _ := api.list("Namespace")
		for _, namespace := range objects {
			name := nameOf(namespace)
			if name != "default" && !strings.HasPrefix(name, "kube-") {
				left++
				api.must("DELETE", path("Namespace", "", name), plainJSON, Object{}, 404, 409)
			}
		}
		if left == 0 {
			return
		}
	}
	panic(failure("the cluster could not be cleared"))
}

func sortStrings(all []string) { sort.Strings(all) }
