package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"sigs.k8s.io/yaml"
)

// evictionCase is one case of a scenario file: nothing moves but what its steps and the controllers do.
type evictionCase struct {
	Name        string            `json:"name"`
	Kind        string            `json:"kind"`
	Description string            `json:"description"`
	Objects     []Object          `json:"objects"`
	States      map[string]string `json:"states"` // workload or pod name -> a letter for each of its pods; R where none is left
	Steps       []Object          `json:"steps"`
}

// stage is a case being played in a namespace of its own.
type stage struct {
	api       *API
	watch     *Watch
	plane     *Plane
	namespace string
	owners    *owners
	aliases   map[string]string // uid -> alias
	names     map[string]string // alias -> pod name
	created   map[string]int
	paused    bool
}

func readEvictionCases(file string) ([]evictionCase, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var cases []evictionCase
	if err := yaml.UnmarshalStrict(data, &cases); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return cases, nil
}

func recordEvictions(plane *Plane, one evictionCase, version, folder string, index int) {
	s := &stage{
		api: plane.api, plane: plane, namespace: fmt.Sprintf("cmsim-case-%d", index), created: map[string]int{},
		owners:  &owners{parents: map[string]string{}, slicesBefore: map[string]Object{}},
		aliases: map[string]string{}, names: map[string]string{},
	}
	s.api.must("POST", path("Namespace", "", ""), plainJSON, Object{"metadata": Object{"name": s.namespace}})
	s.watch = startWatch(s.api, nil)
	defer s.watch.stop()
	defer func() {
		if s.paused {
			plane.resume("kube-controller-manager")
		}
		s.api.must("DELETE", path("Namespace", "", s.namespace), plainJSON, Object{}, 404, 409)
		for _, pod := range s.pods() {
			target := path("Pod", s.namespace, nameOf(pod))
			s.api.must("PATCH", target, mergePatch, Object{"metadata": Object{"finalizers": nil}}, 404, 409)
			s.api.must("DELETE", target, plainJSON, Object{"gracePeriodSeconds": 0}, 404)
		}
	}()
	for _, object := range one.Objects {
		s.api.must("POST", path(text(object, "kind"), s.namespace, ""), plainJSON, object)
	}
	s.settle()
	s.learn()
	s.alias(true)
	counted := map[string]int{}
	for _, pod := range s.pods() {
		workload := strings.SplitN(s.aliases[uidOf(pod)], "/", 2)[0]
		letters, i := one.States[workload], counted[workload]
		counted[workload]++
		letter := "R"
		if i < len(letters) {
			letter = letters[i : i+1]
		}
		s.set(pod, letter)
		// The pods of a StatefulSet in order come one after the other.
		s.settle()
		s.learn()
		s.alias(true)
	}
	for _, pod := range s.pods() {
		if text(pod, "spec", "nodeName") == "" && one.States[strings.SplitN(s.aliases[uidOf(pod)], "/", 2)[0]] == "" {
			s.set(pod, "R")
			s.settle()
		}
	}
	initial := map[string][]Object{}
	kinds := []string{
		"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController", "Job", "PodDisruptionBudget", "Pod",
	}
	for _, kind := range kinds {
		listed, _ := s.api.list(kind)
		for _, object := range listed {
			if namespaceOf(object) == s.namespace {
				object = compact(kind, object)
				if kind == "Pod" {
					delete(object["status"].(Object), "podIP")
				}
				initial[kind] = append(initial[kind], object)
			}
		}
	}
	recorded := Object{
		"name": one.Name, "kind": one.Kind, "description": one.Description, "controlPlane": version,
		"initial": s.shown(initial), "initial_state": s.shown(s.state()),
	}
	steps := []any{}
	for _, op := range one.Steps {
		step := Object{"op": op}
		if response := s.perform(op); response != nil {
			step["response"] = response
		}
		if !s.paused {
			s.settle()
		} else {
			time.Sleep(100 * time.Millisecond)
		}
		s.learn()
		s.alias(false)
		step["after"] = s.shown(s.state())
		if step["response"] != nil {
			step["response"] = s.shown(step["response"])
		}
		steps = append(steps, step)
	}
	recorded["steps"] = steps
	if err := os.MkdirAll(folder, 0o755); err != nil {
		panic(failure("%v", err))
	}
	if err := os.WriteFile(filepath.Join(folder, one.Name+".json"), append(marshal(recorded), '\n'), 0o644); err != nil {
		panic(failure("%v", err))
	}
	fmt.Printf("%-40s %d steps\n", one.Name, len(steps))
}

func (s *stage) pods() []Object {
	var found []Object
	for _, pod := range s.watch.all("Pod") {
		if namespaceOf(pod) == s.namespace {
			found = append(found, pod)
		}
	}
	sortByKey(found)
	return found
}

// settle waits until nothing has moved for half a second.
func (s *stage) settle() {
	time.Sleep(50 * time.Millisecond)
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(25 * time.Millisecond) {
		if s.watch.quietFor() > 500*time.Millisecond {
			return
		}
	}
}

func (s *stage) learn() {
	for _, kind := range []string{"ReplicaSet", "Job"} {
		for _, object := range s.watch.all(kind) {
			s.owners.learn(kind, object)
		}
	}
}

// alias gives every new pod its alias: the place by name at the beginning, later the order of creation.
func (s *stage) alias(beginning bool) {
	pods := s.pods()
	if beginning {
		s.created = map[string]int{}
	} else {
		sort.SliceStable(pods, func(i, j int) bool {
			return text(pods[i], "metadata", "creationTimestamp") < text(pods[j], "metadata", "creationTimestamp")
		})
	}
	for _, pod := range pods {
		owner := s.owners.of(pod)
		workload := owner[strings.Index(owner, "/")+1:]
		if beginning {
			alias := fmt.Sprintf("%s/%d", workload, s.created[workload])
			s.created[workload]++
			s.aliases[uidOf(pod)], s.names[alias] = alias, nameOf(pod)
		} else if _, known := s.aliases[uidOf(pod)]; !known {
			alias := fmt.Sprintf("%s/new%d", workload, s.created["new:"+workload])
			s.created["new:"+workload]++
			s.aliases[uidOf(pod)], s.names[alias] = alias, nameOf(pod)
		}
	}
}

// shown writes aliases for names everywhere, and `ns` for the namespace.
func (s *stage) shown(value any) any {
	shown := string(marshal(value))
	type pair struct{ name, alias string }
	var pairs []pair
	for alias, name := range s.names {
		if controlled := strings.HasPrefix(name, strings.SplitN(alias, "/", 2)[0]+"-"); controlled {
			pairs = append(pairs, pair{name, alias})
		}
	}
	// A name that came back keeps its old alias in messages (DRAINS.md).
	sort.Slice(pairs, func(i, j int) bool {
		if len(pairs[i].name) != len(pairs[j].name) {
			return len(pairs[i].name) > len(pairs[j].name)
		}
		return !strings.Contains(pairs[i].alias, "/new") && strings.Contains(pairs[j].alias, "/new")
	})
	for _, one := range pairs {
		shown = strings.ReplaceAll(shown, `"`+one.name+`"`, `"`+one.alias+`"`)
		shown = strings.ReplaceAll(shown, `\"`+one.name+`\"`, `\"`+one.alias+`\"`)
	}
	shown = strings.ReplaceAll(shown, s.namespace, "ns")
	var found any
	_ = json.Unmarshal([]byte(shown), &found)
	return found
}

func (s *stage) state() Object {
	budgets := Object{}
	for _, budget := range s.watch.all("PodDisruptionBudget") {
		if namespaceOf(budget) != s.namespace {
			continue
		}
		shown := Object{"generation": number(budget, "metadata", "generation")}
		counts := []string{"currentHealthy", "desiredHealthy", "expectedPods", "disruptionsAllowed", "observedGeneration"}
		for _, field := range counts {
			shown[field] = number(budget, "status", field)
		}
		if names := disrupted(budget); len(names) > 0 {
			shown["disruptedPods"] = names
		}
		if one := condition(budget, "DisruptionAllowed"); one != nil {
			one = clone(one)
			delete(one, "lastTransitionTime")
			if text(one, "message") == "" {
				delete(one, "message")
			}
			shown["conditions"] = []any{one}
		}
		budgets[nameOf(budget)] = shown
	}
	pods := []any{}
	for _, pod := range s.pods() {
		shown := Object{"pod": s.aliases[uidOf(pod)], "phase": text(pod, "status", "phase"), "ready": nil}
		if ready := condition(pod, "Ready"); ready != nil {
			shown["ready"] = text(ready, "status")
		}
		if isDeleting(pod) {
			shown["terminating"], shown["grace"] = true, number(pod, "metadata", "deletionGracePeriodSeconds")
		}
		if target := condition(pod, "DisruptionTarget"); target != nil {
			shown["disruptionTarget"] = text(target, "reason")
		}
		pods = append(pods, shown)
	}
	sort.Slice(pods, func(i, j int) bool { return text(pods[i], "pod") < text(pods[j], "pod") })
	return Object{"pdbs": budgets, "pods": pods}
}

// set gives a pod the state that a letter stands for (DRAINS.md).
func (s *stage) set(pod Object, letter string) {
	name := nameOf(pod)
	if letter != "P" && text(pod, "spec", "nodeName") == "" {
		binding := Object{
			"apiVersion": "v1", "kind": "Binding", "metadata": Object{"name": name},
			"target": Object{"apiVersion": "v1", "kind": "Node", "name": "n1"},
		}
		s.api.must("POST", path("Pod", s.namespace, name, "binding"), plainJSON, binding)
	}
	phases := map[string]string{"S": "Succeeded", "F": "Failed", "P": "Pending", "B": "Pending", "p": "Pending"}
	phase := phases[letter]
	if phase == "" {
		phase = "Running"
	}
	status := Object{"phase": phase}
	ready := map[string]string{"R": "True", "N": "False", "U": "Unknown", "p": "True", "S": "False", "F": "False"}[letter]
	if ready != "" {
		status["conditions"] = []any{Object{"type": "Ready", "status": ready}}
	}
	if letter == "P" || letter == "B" {
		return
	}
	s.api.must("PATCH", path("Pod", s.namespace, name, "status"), strategicPatch, Object{"status": status})
}

func (s *stage) pod(alias string) Object {
	if !strings.Contains(alias, "/") {
		alias += "/0"
	}
	name, known := s.names[alias]
	if !known {
		name = strings.TrimSuffix(alias, "/0")
	}
	return Object{"metadata": Object{"name": name, "namespace": s.namespace}}
}

// perform does a step; the result is its answer, if it has one.
func (s *stage) perform(op Object) any {
	name := func() string { return nameOf(s.pod(text(op, "pod"))) }
	switch text(op, "op") {
	case "evict":
		return s.evict(op, text(op, "pod"))
	case "evict-parallel":
		aliases := array(op, "pods")
		answers := make([]any, len(aliases))
		var together sync.WaitGroup
		for i, alias := range aliases {
			together.Add(1)
			go func() {
				defer together.Done()
				_ = attempt(func() { answers[i] = s.evict(Object{}, alias.(string)) })
			}()
		}
		together.Wait()
		return answers
	case "set":
		pod := s.watch.get("Pod", s.namespace, name())
		if pod == nil {
			panic(failure("step %v: no such pod", op))
		}
		s.set(pod, text(op, "state"))
	case "finish":
		s.api.must("DELETE", path("Pod", s.namespace, name()), plainJSON, Object{"gracePeriodSeconds": 0}, 404)
	case "delete":
		body := Object{"propagationPolicy": "Background"}
		if policy := text(op, "propagation"); policy != "" {
			body["propagationPolicy"] = policy
		}
		object := text(op, "name")
		if text(op, "kind") == "Pod" {
			object, body = nameOf(s.pod(object)), Object{}
		}
		target := path(text(op, "kind"), s.namespace, object)
		return s.answer(s.api.must("DELETE", target, plainJSON, body, 404))
	case "patch":
		target := path(text(op, "kind"), s.namespace, text(op, "name"))
		return s.answer(s.api.must("PATCH", target, mergePatch, at(op, "body"), 404, 422))
	case "label":
		for _, alias := range array(op, "pods") {
			body := Object{"metadata": Object{"labels": at(op, "labels")}}
			s.api.must("PATCH", path("Pod", s.namespace, nameOf(s.pod(alias.(string)))), mergePatch, body)
		}
	case "create":
		object := at(op, "object").(Object)
		answer, err := s.api.do(context.Background(), "POST", path(text(object, "kind"), s.namespace, ""), plainJSON, object)
		if err != nil {
			panic(failure("%v", err))
		}
		return s.answer(answer)
	case "wait":
		seconds, _ := op["seconds"].(float64)
		time.Sleep(time.Duration(seconds * float64(time.Second)))
	case "pause":
		s.plane.pause("kube-controller-manager")
		s.paused = true
	default:
		panic(failure("step %v is unknown to the recorder", op))
	}
	return nil
}

func (s *stage) evict(op Object, alias string) any {
	pod := s.pod(alias)
	body := Object{"apiVersion": "policy/v1", "kind": "Eviction", "metadata": pod["metadata"]}
	if options := at(op, "deleteOptions"); options != nil {
		found := s.watch.get("Pod", s.namespace, nameOf(pod))
		shown := strings.NewReplacer("$UID", uidOf(found), "$RV", text(found, "metadata", "resourceVersion")).
			Replace(string(marshal(options)))
		body["deleteOptions"] = json.RawMessage(shown)
	}
	target := path("Pod", s.namespace, nameOf(pod), "eviction")
	if dry := text(op, "query", "dryRun"); dry != "" {
		target += "?dryRun=" + dry
	}
	answer, err := s.api.do(context.Background(), "POST", target, plainJSON, body)
	if err != nil {
		panic(failure("%v", err))
	}
	return s.answer(answer)
}

func (s *stage) answer(answer Answer) Object {
	response := Object{"code": answer.Code}
	if header := answer.Header.Get("Retry-After"); header != "" {
		response["retry_after_header"] = header
	}
	if text(answer.Body, "kind") == "Status" {
		body := Object{}
		for _, field := range []string{"status", "reason", "message", "code"} {
			if value := answer.Body[field]; value != nil && value != "" {
				body[field] = value
			}
		}
		if details, _ := answer.Body["details"].(Object); details != nil {
			shown := Object{}
			for _, field := range []string{"causes", "retryAfterSeconds"} {
				if value := details[field]; value != nil {
					shown[field] = value
				}
			}
			if len(shown) > 0 && !answer.ok() {
				body["details"] = shown
			}
		}
		response["body"] = body
	}
	return response
}
