package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"sync"
	"time"
)

// Change is one revision of one object.
type Change struct {
	Kind     string
	Type     string // ADDED, MODIFIED, DELETED
	Revision uint64
	Seen     time.Time
	Object   Object
	Before   Object // nil when it is new
}

var watched = []string{
	"Pod", "Node", "PodDisruptionBudget", "EndpointSlice", "Job", "Event", "Deployment", "ReplicaSet", "StatefulSet",
	"DaemonSet", "ReplicationController",
}

// Watch follows all objects that a trace is made of and keeps every change.
type Watch struct {
	mu       sync.Mutex
	changes  []Change
	objects  map[string]map[string]Object // kind -> namespace/name
	last     time.Time                    // of the last change that matters
	broken   error
	onChange func(Change)
	cancel   context.CancelFunc
	done     sync.WaitGroup
}

func startWatch(api *API, onChange func(Change)) *Watch {
	ctx, cancel := context.WithCancel(context.Background())
	w := &Watch{objects: map[string]map[string]Object{}, onChange: onChange, cancel: cancel, last: time.Now()}
	for _, kind := range watched {
		listed, revision := api.list(kind)
		w.objects[kind] = map[string]Object{}
		for _, object := range listed {
			w.objects[kind][keyOf(object)] = object
		}
		w.done.Add(1)
		go func() {
			defer w.done.Done()
			err := w.follow(ctx, api, kind, revision)
			if ctx.Err() == nil {
				w.mu.Lock()
				w.broken = err
				w.mu.Unlock()
			}
		}()
	}
	return w
}

func (w *Watch) stop() {
	w.cancel()
	w.done.Wait()
}

// follow reads a watch to its end, and on from the last revision when the API server closes it: it does so with watchers that are
// slow to read.
func (w *Watch) follow(ctx context.Context, api *API, kind string, revision uint64) error {
	for attempts := 0; ; attempts++ {
		last, err := w.read(ctx, api, kind, revision)
		if ctx.Err() != nil || attempts == 20 || !errors.Is(err, io.EOF) {
			return err
		}
		revision = last
	}
}

func (w *Watch) read(ctx context.Context, api *API, kind string, revision uint64) (uint64, error) {
	query := "?watch=1&timeoutSeconds=7200&resourceVersion=" + strconv.FormatUint(revision, 10)
	response, err := api.open(ctx, "GET", path(kind, "", "")+query, "", nil)
	if err != nil {
		return revision, err
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(response.Body)
	for {
		var line struct {
			Type   string
			Object Object
		}
		if err := decoder.Decode(&line); err != nil {
			return revision, err
		}
		if line.Type == "ERROR" {
			return revision, failure("watch of %s: %s", kind, text(line.Object, "message"))
		}
		revision = w.take(kind, line.Type, line.Object)
	}
}

func (w *Watch) take(kind, what string, object Object) uint64 {
	key := keyOf(object)
	change := Change{Kind: kind, Type: what, Seen: time.Now(), Object: object}
	change.Revision, _ = strconv.ParseUint(text(object, "metadata", "resourceVersion"), 10, 64)
	w.mu.Lock()
	change.Before = w.objects[kind][key]
	if what == "DELETED" {
		delete(w.objects[kind], key)
	} else {
		w.objects[kind][key] = object
	}
	w.changes = append(w.changes, change)
	if kind != "Event" {
		w.last = change.Seen
	}
	w.mu.Unlock()
	if w.onChange != nil {
		w.onChange(change)
	}
	return change.Revision
}

// all are the objects of a kind as last seen.
func (w *Watch) all(kind string) []Object {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []Object
	for _, object := range w.objects[kind] {
		found = append(found, object)
	}
	return found
}

func (w *Watch) get(kind, namespace, name string) Object {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.objects[kind][namespace+"/"+name]
}

func (w *Watch) quietFor() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.broken != nil {
		panic(failure("a watch ended: %v", w.broken))
	}
	return time.Since(w.last)
}

// quietSince is when something that matters changed last.
func (w *Watch) quietSince() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last
}

// after are the changes since a revision.
func (w *Watch) after(revision uint64) []Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	var found []Change
	for _, change := range w.changes {
		if change.Revision > revision {
			found = append(found, change)
		}
	}
	return found
}
