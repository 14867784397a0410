// The recorder plays scenarios on a control plane of real components and writes what happened, in the formats of
// fixtures/DRAINS.md and fixtures/PLACEMENTS.md. Only the kubelets are played.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

func init() {
	// Children die with the thread that started them (Pdeathsig): that has to be the one that lives as long as the recorder.
	runtime.LockOSThread()
}

func main() {
	bin := flag.String("bin", "", "folder with the binaries (ci/binaries)")
	version := flag.String("version", "", "version of the control plane, like v1.36.3")
	out := flag.String("out", "", "folder for the recordings")
	runs := flag.Int("runs", 1, "runs of each drain scenario")
	limit := flag.Duration("limit", 2*time.Hour, "gives up after so long")
	flag.Parse()
	if flag.NArg() < 2 || *bin == "" || *version == "" || *out == "" {
		fmt.Fprintln(os.Stderr, "usage: recorder -bin DIR -version VERSION -out DIR drains|evictions|serve SCENARIO...")
		os.Exit(2)
	}
	var plane *Plane
	go func() {
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
		select {
		case <-signals:
		case <-time.After(*limit):
			fmt.Fprintln(os.Stderr, "recorder: out of time")
		}
		if plane != nil {
			plane.stop()
		}
		os.Exit(1)
	}()
	files, failed := flag.Args()[1:], 0
	broken := func(file string, err error) {
		failed++
		fmt.Printf("%-40s FAILED: %v\n", filepath.Base(file), err)
	}
	err := attempt(func() {
		switch flag.Arg(0) {
		case "drains":
			plane = startPlane(*bin, Parts{controllers: true, scheduler: true, schedulerName: "kube-scheduler"})
			defer plane.stop()
			for _, file := range files {
				for run := 1; run <= *runs; run++ {
					scenario, err := readScenario(file)
					if err == nil {
						err = attempt(func() { recordDrain(plane, scenario, *version, *out, run) })
					}
					if err != nil {
						broken(file, err)
					}
					clear(plane.api)
				}
			}
		case "serve":
			plane = startPlane(*bin, Parts{controllers: true, scheduler: true, schedulerName: "kube-scheduler"})
			defer plane.stop()
			scenario, err := readScenario(files[0])
			if err != nil {
				panic(failure("%v", err))
			}
			serve(plane, scenario, *version, *out)
		case "evictions":
			plane = startPlane(*bin, Parts{controllers: true})
			defer plane.stop()
			kubelets := startKubelets(plane.api, true)
			defer kubelets.stop()
			node := Nodes{Count: 1, Prefix: "n", CPU: "64", Memory: "256Gi", Pods: "500"}
			kubelets.register(node.objects()[0], *version)
			index := 0
			for _, file := range files {
				cases, err := readEvictionCases(file)
				if err != nil {
					broken(file, err)
				}
				for _, one := range cases {
					index++
					if err := attempt(func() { recordEvictions(plane, one, *version, *out, index) }); err != nil {
						broken(one.Name, err)
					}
				}
			}
		default:
			panic(failure("nothing is recorded by the name of %q", flag.Arg(0)))
		}
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "recorder:", err)
		os.Exit(1)
	}
	if failed > 0 {
		os.Exit(1)
	}
}
