package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
)

// Object is a Kubernetes object, or a part of one, as JSON has it.
type Object = map[string]any

// resource says where the objects of a kind live.
type resource struct {
	api, plural string
	namespaced  bool
}

var resources = map[string]resource{
	"Namespace":               {"api/v1", "namespaces", false},
	"Node":                    {"api/v1", "nodes", false},
	"Pod":                     {"api/v1", "pods", true},
	"Service":                 {"api/v1", "services", true},
	"Event":                   {"api/v1", "events", true},
	"ReplicationController":   {"api/v1", "replicationcontrollers", true},
	"PersistentVolume":        {"api/v1", "persistentvolumes", false},
	"PersistentVolumeClaim":   {"api/v1", "persistentvolumeclaims", true},
	"ConfigMap":               {"api/v1", "configmaps", true},
	"Deployment":              {"apis/apps/v1", "deployments", true},
	"ReplicaSet":              {"apis/apps/v1", "replicasets", true},
	"StatefulSet":             {"apis/apps/v1", "statefulsets", true},
	"DaemonSet":               {"apis/apps/v1", "daemonsets", true},
	"Job":                     {"apis/batch/v1", "jobs", true},
	"CronJob":                 {"apis/batch/v1", "cronjobs", true},
	"PodDisruptionBudget":     {"apis/policy/v1", "poddisruptionbudgets", true},
	"EndpointSlice":           {"apis/discovery.k8s.io/v1", "endpointslices", true},
	"PriorityClass":           {"apis/scheduling.k8s.io/v1", "priorityclasses", false},
	"StorageClass":            {"apis/storage.k8s.io/v1", "storageclasses", false},
	"CSINode":                 {"apis/storage.k8s.io/v1", "csinodes", false},
	"Lease":                   {"apis/coordination.k8s.io/v1", "leases", true},
	"RuntimeClass":            {"apis/node.k8s.io/v1", "runtimeclasses", false},
	"HorizontalPodAutoscaler": {"apis/autoscaling/v2", "horizontalpodautoscalers", true},
}

// path is where the objects of a kind are found; name "" means the collection, namespace "" all namespaces.
func path(kind, namespace, name string, rest ...string) string {
	r, known := resources[kind]
	if !known {
		panic(failure("kind %q is unknown to the recorder", kind))
	}
	parts := []string{"", r.api}
	if r.namespaced && namespace != "" {
		parts = append(parts, "namespaces", url.PathEscape(namespace))
	}
	parts = append(parts, r.plural)
	if name != "" {
		parts = append(parts, url.PathEscape(name))
	}
	return strings.Join(append(parts, rest...), "/")
}

// API speaks to the API server, and to etcd for the current revision.
type API struct {
	base, token, etcd string
	http              *http.Client
}

func newAPI(base, token, etcd, certificate string) (*API, error) {
	pem, err := os.ReadFile(certificate)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", certificate)
	}
	transport := &http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: pool},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 64,
	}
	return &API{base: base, token: token, etcd: etcd, http: &http.Client{Transport: transport}}, nil
}

const (
	mergePatch     = "application/merge-patch+json"
	strategicPatch = "application/strategic-merge-patch+json"
	plainJSON      = "application/json"
)

// Answer is what the API server said.
type Answer struct {
	Code   int
	Header http.Header
	Body   Object
}

func (a Answer) ok() bool { return a.Code >= 200 && a.Code < 300 }

func (a Answer) message() string { return text(a.Body, "message") }

func (a *API) open(ctx context.Context, method, path, contentType string, body any) (*http.Response, error) {
	var reader io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		reader = bytes.NewReader(data)
	}
	request, err := http.NewRequestWithContext(ctx, method, a.base+path, reader)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+a.token)
	request.Header.Set("Accept", plainJSON)
	if body != nil {
		request.Header.Set("Content-Type", contentType)
	}
	return a.http.Do(request)
}

// do sends one request. Only a request without an answer is an error.
func (a *API) do(ctx context.Context, method, path, contentType string, body any) (Answer, error) {
	response, err := a.open(ctx, method, path, contentType, body)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return Answer{}, err
	}
	answer := Answer{Code: response.StatusCode, Header: response.Header}
	if json.Unmarshal(data, &answer.Body) != nil {
		answer.Body = Object{"message": string(data)}
	}
	return answer, nil
}

// must sends one request that has to succeed, apart from the codes that are named.
func (a *API) must(method, path, contentType string, body any, allowed ...int) Answer {
	answer, err := a.do(context.Background(), method, path, contentType, body)
	if err != nil {
		panic(failure("%s %s: %v", method, path, err))
	}
	for _, code := range allowed {
		if answer.Code == code {
			return answer
		}
	}
	if !answer.ok() {
		panic(failure("%s %s: %d %s", method, path, answer.Code, answer.message()))
	}
	return answer
}

// list gives the objects of a kind in namespace/name order, and the revision of the list.
func (a *API) list(kind string) ([]Object, uint64) {
	body := a.must("GET", path(kind, "", ""), "", nil).Body
	r := resources[kind]
	var objects []Object
	for _, item := range array(body, "items") {
		object := item.(Object)
		object["kind"] = kind
		object["apiVersion"] = strings.TrimPrefix(strings.TrimPrefix(r.api, "apis/"), "api/")
		objects = append(objects, object)
	}
	revision, _ := strconv.ParseUint(text(body, "metadata", "resourceVersion"), 10, 64)
	return objects, revision
}

// revision is etcd's current one.
func (a *API) revision() uint64 {
	response, err := http.Post(a.etcd+"/v3/kv/range", plainJSON, strings.NewReader(`{"key":"AA=="}`))
	if err != nil {
		panic(failure("etcd: %v", err))
	}
	defer response.Body.Close()
	var body struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil {
		panic(failure("etcd: %v", err))
	}
	revision, _ := strconv.ParseUint(body.Header.Revision, 10, 64)
	return revision
}

// trouble ends a recording: what was recorded so far is worth nothing.
type trouble struct{ error }

func failure(format string, arguments ...any) trouble {
	return trouble{fmt.Errorf(format, arguments...)}
}

// attempt turns a trouble into an error.
func attempt(what func()) (err error) {
	defer func() {
		switch found := recover().(type) {
		case nil:
		case trouble:
			err = found
		default:
			panic(found)
		}
	}()
	what()
	return nil
}

// at follows a path of keys; nil where it ends.
func at(object any, keys ...string) any {
	for _, key := range keys {
		part, isObject := object.(Object)
		if !isObject {
			return nil
		}
		object = part[key]
	}
	return object
}

func text(object any, keys ...string) string {
	found, _ := at(object, keys...).(string)
	return found
}

func number(object any, keys ...string) int {
	found, _ := at(object, keys...).(float64)
	return int(found)
}

func array(object any, keys ...string) []any {
	found, _ := at(object, keys...).([]any)
	return found
}

func truth(object any, keys ...string) bool {
	found, _ := at(object, keys...).(bool)
	return found
}

func namespaceOf(object Object) string { return text(object, "metadata", "namespace") }
func nameOf(object Object) string      { return text(object, "metadata", "name") }
func uidOf(object Object) string       { return text(object, "metadata", "uid") }
func keyOf(object Object) string       { return namespaceOf(object) + "/" + nameOf(object) }
func isDeleting(object Object) bool    { return text(object, "metadata", "deletionTimestamp") != "" }

// condition finds a condition by its type.
func condition(object Object, kind string) Object {
	for _, one := range array(object, "status", "conditions") {
		if text(one, "type") == kind {
			return one.(Object)
		}
	}
	return nil
}

func isReady(object Object) bool { return text(condition(object, "Ready"), "status") == "True" }

func isFinished(pod Object) bool {
	phase := text(pod, "status", "phase")
	return phase == "Succeeded" || phase == "Failed"
}

// controller is the owner that controls the object.
func controller(object Object) Object {
	for _, owner := range array(object, "metadata", "ownerReferences") {
		if truth(owner, "controller") {
			return owner.(Object)
		}
	}
	return nil
}

func clone(object Object) Object {
	data, _ := json.Marshal(object)
	var copied Object
	_ = json.Unmarshal(data, &copied)
	return copied
}
