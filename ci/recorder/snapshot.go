package main

import (
	"sort"
	"strings"
)

// Kinds of a snapshot. ReplicationControllers and Namespaces stand in the scenario, where their readers look for them.
var snapshotKinds = []string{
	"Pod", "Node", "PodDisruptionBudget", "EndpointSlice", "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job",
	"CronJob", "Service", "PersistentVolume", "PersistentVolumeClaim", "PriorityClass", "StorageClass",
}

var noise = map[string]bool{
	"managedFields": true, "uid": true, "creationTimestamp": true, "resourceVersion": true, "generateName": true,
	"selfLink": true, "lastTransitionTime": true, "lastProbeTime": true, "lastUpdateTime": true,
	"lastHeartbeatTime": true, "blockOwnerDeletion": true, "deletionGracePeriodSeconds": false,
}

// compact drops what no reader needs: identities, times, and fields that have their default.
func compact(kind string, object Object) Object {
	since := text(condition(object, "Ready"), "lastTransitionTime")
	object = clone(object)
	object["kind"] = kind
	delete(object, "apiVersion")
	prune(object)
	metadata := object["metadata"].(Object)
	if annotations, _ := metadata["annotations"].(Object); annotations != nil {
		for key := range annotations {
			if strings.HasPrefix(key, "deployment.kubernetes.io/") || strings.HasPrefix(key, "deprecated.daemonset.") ||
				strings.HasPrefix(key, "endpoints.kubernetes.io/") || strings.HasPrefix(key, "pv.kubernetes.io/") {
				delete(annotations, key)
			}
		}
		if len(annotations) == 0 {
			delete(metadata, "annotations")
		}
	}
	spec, _ := object["spec"].(Object)
	switch kind {
	case "Pod":
		compactPodSpec(spec)
		compactPodStatus(object)
		// Whether a pod counts as available depends on it.
		if ready := condition(object, "Ready"); text(ready, "status") == "True" && since != "" {
			ready["lastTransitionTime"] = since
		}
	case "Node":
		delete(metadata, "annotations")
		delete(spec, "podCIDR")
		delete(spec, "podCIDRs")
		status := object["status"].(Object)
		for field := range status {
			if field != "allocatable" && field != "conditions" && field != "nodeInfo" && field != "images" {
				delete(status, field)
			}
		}
		status["nodeInfo"] = Object{"kubeletVersion": text(status, "nodeInfo", "kubeletVersion")}
	case "EndpointSlice":
		delete(object, "addressType")
		delete(object, "ports")
		metadata["labels"] = Object{serviceLabel: text(metadata, "labels", serviceLabel)}
		for _, one := range array(object, "endpoints") {
			endpoint := one.(Object)
			endpoint["pod"] = text(endpoint, "targetRef", "name")
			delete(endpoint, "targetRef")
			delete(endpoint, "zone")
		}
	case "PodDisruptionBudget":
		if names := disrupted(object); len(names) > 0 {
			object["status"].(Object)["disruptedPods"] = names
		}
	case "Service":
		for field := range spec {
			if field != "ports" && field != "selector" && field != "type" && field != "publishNotReadyAddresses" {
				delete(spec, field)
			}
		}
		delete(object, "status")
	case "StorageClass":
		delete(object, "reclaimPolicy")
	}
	if template := at(spec, "template", "spec"); template != nil {
		compactPodSpec(template.(Object))
	}
	if template := at(spec, "jobTemplate", "spec", "template", "spec"); template != nil {
		compactPodSpec(template.(Object))
	}
	defaults := map[string]any{"revisionHistoryLimit": 10.0, "progressDeadlineSeconds": 600.0}
	for field, value := range defaults {
		if spec[field] == value {
			delete(spec, field)
		}
	}
	return object
}

func prune(value any) {
	switch value := value.(type) {
	case Object:
		for key, inner := range value {
			if noise[key] {
				delete(value, key)
				continue
			}
			prune(inner)
		}
	case []any:
		for _, inner := range value {
			prune(inner)
		}
	}
}

func compactPodSpec(spec Object) {
	defaults := map[string]any{
		"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "priority": 0.0,
		"preemptionPolicy": "PreemptLowerPriority", "enableServiceLinks": true,
	}
	for field, value := range defaults {
		if spec[field] == value {
			delete(spec, field)
		}
	}
	if context, _ := spec["securityContext"].(Object); len(context) == 0 {
		delete(spec, "securityContext")
	}
	for _, containers := range []string{"containers", "initContainers"} {
		for _, one := range array(spec, containers) {
			container := one.(Object)
			delete(container, "terminationMessagePath")
			delete(container, "terminationMessagePolicy")
			delete(container, "imagePullPolicy")
			if resources, _ := container["resources"].(Object); len(resources) == 0 {
				delete(container, "resources")
			}
		}
	}
	var kept []any
	for _, toleration := range array(spec, "tolerations") {
		usual := text(toleration, "operator") == "Exists" && text(toleration, "effect") == "NoExecute" &&
			number(toleration, "tolerationSeconds") == 300
		key := text(toleration, "key")
		if !usual || key != "node.kubernetes.io/not-ready" && key != "node.kubernetes.io/unreachable" {
			kept = append(kept, toleration)
		}
	}
	if delete(spec, "tolerations"); len(kept) > 0 {
		spec["tolerations"] = kept
	}
}

func compactPodStatus(pod Object) {
	status := pod["status"].(Object)
	kept := Object{}
	for _, field := range []string{"phase", "podIP", "nominatedNodeName", "startTime"} {
		if value := text(status, field); value != "" {
			kept[field] = value
		}
	}
	var conditions []any
	for _, kind := range []string{"Ready", "PodScheduled", "DisruptionTarget"} {
		if one := condition(pod, kind); one != nil {
			delete(one, "observedGeneration")
			if text(one, "status") == "True" && kind != "DisruptionTarget" {
				delete(one, "reason")
				delete(one, "message")
			}
			conditions = append(conditions, one)
		}
	}
	if len(conditions) > 0 {
		kept["conditions"] = conditions
	}
	pod["status"] = kept
	delete(pod["metadata"].(Object), "generation")
}

// snapshot lists everything at one revision.
func (r *recording) snapshot() (objects map[string][]Object, revision uint64) {
	for range 20 {
		before := r.watch.quietSince()
		revision = r.api.revision()
		objects = map[string][]Object{}
		for _, kind := range snapshotKinds {
			listed, _ := r.api.list(kind)
			var kept []Object
			for _, object := range listed {
				if isSystem(kind, object) {
					continue
				}
				if kind == "EndpointSlice" {
					r.owners.slicesBefore[keyOf(object)] = object
				}
				r.owners.learn(kind, object)
				kept = append(kept, compact(kind, object))
			}
			if len(kept) > 0 {
				sort.Slice(kept, func(i, j int) bool { return keyOf(kept[i]) < keyOf(kept[j]) })
				objects[kind] = kept
			}
		}
		// Nothing may have moved between the first list and the last.
		if len(r.watch.after(revision)) == 0 && r.watch.quietSince() == before {
			return objects, revision
		}
	}
	panic(failure("the cluster did not hold still for a snapshot"))
}

// isSystem: objects that every cluster has.
func isSystem(kind string, object Object) bool {
	return kind == "PriorityClass" && strings.HasPrefix(nameOf(object), "system-") ||
		(kind == "Service" || kind == "EndpointSlice") && keyOf(object) == "default/kubernetes"
}
