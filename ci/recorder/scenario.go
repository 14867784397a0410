package main

import (
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"sigs.k8s.io/yaml"
)

// Scenario is a file as DRAINS.md describes it.
type Scenario struct {
	Name        string   `json:"name"`
	Kind        string   `json:"kind"`
	Set         string   `json:"set"`
	Description string   `json:"description"`
	Nodes       Nodes    `json:"nodes"`
	Objects     []Object `json:"objects"`
	MirrorPods  []Object `json:"mirror_pods"`
	Before      []Action `json:"before"`
	Actions     []Action `json:"actions"`
	Options     Options  `json:"options"`
	file        []byte
}

// Nodes says which nodes there are.
type Nodes struct {
	Count     int               `json:"count"`
	Prefix    string            `json:"prefix"`
	CPU       string            `json:"cpu"`
	Memory    string            `json:"memory"`
	Pods      any               `json:"pods"`
	Zones     []string          `json:"zones"`
	Labels    map[string]string `json:"labels"`
	Taints    []any             `json:"taints"`
	Overrides map[string]struct {
		CPU           string            `json:"cpu"`
		Memory        string            `json:"memory"`
		Pods          any               `json:"pods"`
		Labels        map[string]string `json:"labels"`
		Taints        []any             `json:"taints"`
		Unschedulable bool              `json:"unschedulable"`
	} `json:"overrides"`
}

// Action is something somebody else does.
type Action struct {
	At          string  `json:"at,omitempty"`
	Delay       float64 `json:"delay,omitempty"`
	Do          string  `json:"do"`
	Node        string  `json:"node,omitempty"`
	Kind        string  `json:"kind,omitempty"`
	Namespace   string  `json:"namespace,omitempty"`
	Name        string  `json:"name,omitempty"`
	Propagation string  `json:"propagation,omitempty"`
	Grace       *int    `json:"grace,omitempty"`
	Pods        *Choice `json:"pods,omitempty"`
	Body        Object  `json:"body,omitempty"`
	Seconds     float64 `json:"seconds,omitempty"`
}

// Choice selects pods; the first Count of them in namespace/name order.
type Choice struct {
	Namespace string            `json:"namespace,omitempty"`
	Labels    map[string]string `json:"labels,omitempty"`
	Node      string            `json:"node,omitempty"`
	Name      string            `json:"name,omitempty"`
	Count     int               `json:"count,omitempty"`
}

// Options says how the operator drains.
type Options struct {
	Driver       string  `json:"driver"`
	DrainTimeout float64 `json:"drain_timeout"`
	RetrySeconds float64 `json:"retry_seconds"`
	Flags        struct {
		Force            bool  `json:"force"`
		IgnoreDaemonSets *bool `json:"ignore_daemonsets"`
		DeleteEmptyDir   *bool `json:"delete_emptydir"`
		DisableEviction  bool  `json:"disable_eviction"`
		Grace            *int  `json:"grace"`
		SkipWait         int   `json:"skip_wait"`
	} `json:"flags"`
	EvictOrder  string   `json:"evict_order"`
	Order       []string `json:"order"`
	MaxNodes    int      `json:"max_nodes"`
	Concurrency int      `json:"concurrency"`
	Down        struct {
		Mode    string   `json:"mode"`
		Seconds *float64 `json:"seconds"`
	} `json:"down"`
	OnBlocked  string   `json:"on_blocked"`
	Between    *float64 `json:"between"`
	OldVersion string   `json:"old_version"`
	NewVersion string   `json:"new_version"`
}

func readScenario(file string) (*Scenario, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	s := &Scenario{file: data}
	if err := yaml.UnmarshalStrict(data, s); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	o := &s.Options
	orString := func(value *string, otherwise string) {
		if *value == "" {
			*value = otherwise
		}
	}
	orSeconds := func(value *float64, otherwise float64) {
		if *value == 0 {
			*value = otherwise
		}
	}
	orString(&o.Driver, "loop")
	orString(&o.Down.Mode, "shutdown")
	orString(&o.OnBlocked, "stop")
	orString(&o.EvictOrder, "parallel")
	orString(&o.OldVersion, "v1.35.0")
	orSeconds(&o.DrainTimeout, 8)
	orSeconds(&o.RetrySeconds, 1)
	orString(&s.Nodes.Prefix, "n")
	orString(&s.Nodes.CPU, "4")
	orString(&s.Nodes.Memory, "8Gi")
	if s.Nodes.Pods == nil {
		s.Nodes.Pods = "110"
	}
	o.Concurrency = max(o.Concurrency, 1)
	if o.Driver != "loop" {
		return nil, fmt.Errorf("%s: the driver %q is not played; only `loop` is", file, o.Driver)
	}
	return s, nil
}

// objects are the Node objects of the scenario.
func (n *Nodes) objects() []Object {
	var nodes []Object
	for i := range n.Count {
		name := fmt.Sprintf("%s%d", n.Prefix, i+1)
		override := n.Overrides[name]
		labels := map[string]any{
			"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "node-role.kubernetes.io/worker": "",
		}
		if len(n.Zones) > 0 {
			labels["topology.kubernetes.io/region"] = "r1"
			labels["topology.kubernetes.io/zone"] = n.Zones[i%len(n.Zones)]
		}
		for _, more := range []map[string]string{n.Labels, override.Labels} {
			for key, value := range more {
				labels[key] = value
			}
		}
		or := func(value, otherwise string) string {
			if value == "" {
				return otherwise
			}
			return value
		}
		pods := n.Pods
		if override.Pods != nil {
			pods = override.Pods
		}
		size := Object{
			"cpu": or(override.CPU, n.CPU), "memory": or(override.Memory, n.Memory), "pods": fmt.Sprint(pods),
			"ephemeral-storage": "100Gi",
		}
		spec := Object{}
		if taints := append(append([]any{}, n.Taints...), override.Taints...); len(taints) > 0 {
			spec["taints"] = taints
		}
		if override.Unschedulable {
			spec["unschedulable"] = true
		}
		nodes = append(nodes, Object{
			"apiVersion": "v1", "kind": "Node", "metadata": Object{"name": name, "labels": labels}, "spec": spec,
			"status": Object{"capacity": size, "allocatable": size},
		})
	}
	return nodes
}

// create posts an object to where it belongs.
func (r *recording) create(object Object) Answer {
	kind := text(object, "kind")
	namespace := namespaceOf(object)
	if resources[kind].namespaced && namespace == "" {
		namespace = "default"
	}
	return r.api.must("POST", path(kind, namespace, ""), plainJSON, object)
}

// perform does an action now.
func (r *recording) perform(a Action) {
	namespace := a.Namespace
	if namespace == "" {
		namespace = "default"
	}
	switch a.Do {
	case "cordon", "uncordon":
		r.schedulable(a.Node, a.Do == "uncordon")
	case "delete":
		body := Object{}
		if a.Propagation != "" {
			body["propagationPolicy"] = a.Propagation
		} else {
			body["propagationPolicy"] = "Background"
		}
		if a.Grace != nil {
			body["gracePeriodSeconds"] = *a.Grace
		}
		r.api.must("DELETE", path(a.Kind, namespace, a.Name), plainJSON, body, 404)
	case "delete-pods":
		for _, pod := range r.choose(a.Pods) {
			body := Object{}
			if a.Grace != nil {
				body["gracePeriodSeconds"] = *a.Grace
			}
			r.api.must("DELETE", path("Pod", namespaceOf(pod), nameOf(pod)), plainJSON, body, 404)
		}
	case "patch":
		r.api.must("PATCH", path(a.Kind, namespace, a.Name), mergePatch, a.Body, 404)
	case "patch-pods":
		for _, pod := range r.choose(a.Pods) {
			r.api.must("PATCH", path("Pod", namespaceOf(pod), nameOf(pod)), mergePatch, a.Body, 404)
		}
	case "create":
		r.create(a.Body)
	case "ready", "unready":
		for _, pod := range r.choose(a.Pods) {
			r.kubelets.setReady(pod, a.Do == "ready")
		}
	case "wait":
		time.Sleep(time.Duration(a.Seconds * float64(time.Second)))
	default:
		panic(failure("action %q is unknown to the recorder", a.Do))
	}
}

// choose gives the pods that are meant, in namespace/name order.
func (r *recording) choose(choice *Choice) []Object {
	if choice == nil {
		panic(failure("an action needs `pods`"))
	}
	var found []Object
	for _, pod := range r.watch.all("Pod") {
		fits := (choice.Namespace == "" || choice.Namespace == namespaceOf(pod)) &&
			(choice.Name == "" || choice.Name == nameOf(pod)) &&
			(choice.Node == "" || choice.Node == text(pod, "spec", "nodeName"))
		for key, value := range choice.Labels {
			fits = fits && text(pod, "metadata", "labels", key) == value
		}
		if fits {
			found = append(found, pod)
		}
	}
	sortByKey(found)
	if choice.Count > 0 && len(found) > choice.Count {
		found = found[:choice.Count]
	}
	return found
}

func sortByKey(objects []Object) {
	sort.Slice(objects, func(i, j int) bool { return strings.Compare(keyOf(objects[i]), keyOf(objects[j])) < 0 })
}

// trigger starts the actions of an instant: at once, or later in the background.
func (r *recording) trigger(instant string) {
	for _, action := range r.scenario.Actions {
		if action.At != instant && !(action.At == "" && instant == "start") {
			continue
		}
		shown := action
		shown.At, shown.Delay = "", 0
		do := func() {
			r.own(Object{"ev": "step", "what": "action", "action": shown})
			r.perform(action)
		}
		if action.Delay == 0 {
			do()
			continue
		}
		r.background.Add(1)
		time.AfterFunc(time.Duration(action.Delay*float64(time.Second)), func() {
			defer r.background.Done()
			if err := attempt(do); err != nil {
				r.fail(err)
			}
		})
	}
}
