package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// serve makes the cluster of a scenario and keeps it, for programs that upgrade it, until the recorder is ended. In the folder stand
// then `kubeconfig` and, once everything has come to rest, `ready`. A file `hosts/NODE` that holds a version upgrades the host of
// that node: `hosts/NODE.done` appears when its kubelet has come back, and `hosts/NODE.count` holds how often that was done.
func serve(plane *Plane, scenario *Scenario, version, folder string) {
	hosts := filepath.Join(folder, "hosts")
	if err := os.MkdirAll(hosts, 0o755); err != nil {
		panic(failure("%v", err))
	}
	config, err := os.ReadFile(plane.file("kubeconfig"))
	if err != nil {
		panic(failure("%v", err))
	}
	put := func(file string, content []byte) {
		// A reader sees all of it or nothing.
		fresh := filepath.Join(folder, file+".new")
		if err := os.WriteFile(fresh, content, 0o600); err != nil {
			panic(failure("%v", err))
		}
		if err := os.Rename(fresh, filepath.Join(folder, file)); err != nil {
			panic(failure("%v", err))
		}
	}
	r, end := begin(plane, scenario, version)
	defer end()
	r.settle(1500*time.Millisecond, 40*time.Second)
	put("kubeconfig", config)
	put("ready", nil)
	counts, busy, lock := map[string]int{}, map[string]bool{}, sync.Mutex{}
	for ; ; time.Sleep(50 * time.Millisecond) {
		wanted, _ := filepath.Glob(filepath.Join(hosts, "*"))
		for _, file := range wanted {
			node := filepath.Base(file)
			if strings.Contains(node, ".") {
				continue
			}
			lock.Lock()
			taken := busy[node]
			busy[node] = true
			lock.Unlock()
			if taken {
				continue
			}
			go func() {
				target, _ := os.ReadFile(file)
				counts := func() int {
					lock.Lock()
					defer lock.Unlock()
					counts[node]++
					return counts[node]
				}()
				r.kubelets.down(node, scenario.Options.Down.Mode)
				away := 0.8
				if scenario.Options.Down.Seconds != nil {
					away = *scenario.Options.Down.Seconds
				}
				time.Sleep(time.Duration(away * float64(time.Second)))
				r.kubelets.comeBack(node, strings.TrimSpace(string(target)), scenario.Options.Down.Mode != "none")
				put("hosts/"+node+".count", []byte(fmt.Sprintln(counts)))
				_ = os.Remove(file)
				lock.Lock()
				busy[node] = false
				lock.Unlock()
				put("hosts/"+node+".done", nil)
			}()
		}
	}
}
