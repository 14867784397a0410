package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Plane is a control plane of real components on loopback addresses, in a folder of its own.
type Plane struct {
	folder    string
	bin       string
	processes map[string]*process
	api       *API
}

// process is a component that runs; gone is closed when it has ended, of itself or not.
type process struct {
	*os.Process
	gone chan struct{}
}

// Parts says which components run beside etcd and the API server, and how.
type Parts struct {
	controllers, scheduler bool
	// Taken as they are by the component.
	admissionOff   string
	schedulerFlags []string
	schedulerName  string
}

var nextPort = 20000 + mathrand.IntN(10000)

// freePort finds a port that nobody listens at, below those that Linux gives to outgoing connections: one of those may be
// taken before the component listens.
func freePort() int {
	for range 100 {
		port := nextPort
		nextPort++
		if listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			listener.Close()
			return port
		}
	}
	panic(failure("no port below %d is free", nextPort))
}

// startPlane brings the components up and returns when the API server answers. What it started ends with stop, or with
// the recorder itself.
func startPlane(bin string, parts Parts) *Plane {
	folder, err := os.MkdirTemp("", "cmsim-record-")
	if err != nil {
		panic(failure("%v", err))
	}
	p := &Plane{folder: folder, bin: bin, processes: map[string]*process{}}
	started := false
	defer func() {
		if !started {
			p.stop()
		}
	}()
	etcd := fmt.Sprintf("http://127.0.0.1:%d", freePort())
	peer := fmt.Sprintf("http://127.0.0.1:%d", freePort())
	p.run("etcd", "--data-dir="+p.file("etcd"), "--listen-client-urls="+etcd, "--advertise-client-urls="+etcd,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=default="+peer,
		"--unsafe-no-fsync", "--log-level=warn")
	key, secret := p.serviceAccountKey(), make([]byte, 16)
	_, _ = rand.Read(secret)
	token := hex.EncodeToString(secret)
	p.write("tokens.csv", token+",recorder,recorder,system:masters\n")
	port := freePort()
	p.run("kube-apiserver", "--etcd-servers="+etcd, fmt.Sprintf("--secure-port=%d", port), "--bind-address=127.0.0.1",
		// Nothing may depend on the machine's own addresses; 192.0.2.0/24 is reserved for documentation.
		"--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none", "--cert-dir="+p.file("certificates"),
		"--token-auth-file="+p.file("tokens.csv"), "--authorization-mode=RBAC", "--service-cluster-ip-range=10.96.0.0/16",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+key,
		"--service-account-signing-key-file="+key, "--disable-admission-plugins=ServiceAccount"+parts.admissionOff)
	base := fmt.Sprintf("https://127.0.0.1:%d", port)
	certificate := p.file("certificates/apiserver.crt")
	p.await(base, token, etcd, certificate)
	p.write("kubeconfig", fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: u, user: {token: %q}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
current-context: c
`, base, certificate, token))
	common := []string{"--kubeconfig=" + p.file("kubeconfig"), "--leader-elect=false", "--bind-address=127.0.0.1"}
	if parts.controllers {
		p.run("kube-controller-manager", append(common, fmt.Sprintf("--secure-port=%d", freePort()),
			"--cert-dir="+p.file("controllers"), "--controllers=*,-horizontal-pod-autoscaler-controller",
			"--node-monitor-grace-period=8s", "--node-monitor-period=1s")...)
	}
	if parts.scheduler {
		flags := append(common, fmt.Sprintf("--secure-port=%d", freePort()), "--cert-dir="+p.file("scheduler"))
		p.run(parts.schedulerName, append(flags, parts.schedulerFlags...)...)
	}
	if parts.controllers {
		p.awaitControllers()
	}
	started = true
	return p
}

func (p *Plane) file(name string) string { return filepath.Join(p.folder, name) }

func (p *Plane) log(name string) string { return p.file(filepath.Base(name) + ".log") }

func (p *Plane) write(name, content string) {
	if err := os.WriteFile(p.file(name), []byte(content), 0o600); err != nil {
		panic(failure("%v", err))
	}
}

func (p *Plane) serviceAccountKey() string {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(failure("%v", err))
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	p.write("service-account.key", string(pem.EncodeToMemory(block)))
	return p.file("service-account.key")
}

func (p *Plane) run(name string, arguments ...string) {
	binary := name
	if !filepath.IsAbs(name) {
		binary = filepath.Join(p.bin, name)
	}
	log, err := os.Create(p.log(name))
	if err != nil {
		panic(failure("%v", err))
	}
	defer log.Close()
	command := exec.Command(binary, arguments...)
	command.Stdout, command.Stderr = log, log
	// Whatever becomes of the recorder, nothing of it stays behind.
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		panic(failure("%s: %v", name, err))
	}
	started := &process{command.Process, make(chan struct{})}
	p.processes[filepath.Base(name)] = started
	go func() {
		_ = command.Wait()
		close(started.gone)
	}()
}

// mustRun fails, with the end of its log, where a component has ended.
func (p *Plane) mustRun() {
	for name, process := range p.processes {
		select {
		case <-process.gone:
			panic(failure("%s has ended; its log ends with:\n%s", name, p.logEnd(name)))
		default:
		}
	}
}

func (p *Plane) logEnd(name string) string {
	log, _ := os.ReadFile(p.log(name))
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

func (p *Plane) await(base, token, etcd, certificate string) {
	for end := time.Now().Add(90 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		p.mustRun()
		// Anew each time: the certificate may be half written.
		api, err := newAPI(base, token, etcd, certificate)
		if err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		answer, err := api.do(ctx, http.MethodGet, "/readyz", "", nil)
		cancel()
		if err == nil && answer.Code == http.StatusOK {
			p.api = api
			return
		}
	}
	panic(failure("the API server did not become ready; its log ends with:\n%s\nand that of etcd:\n%s",
		p.logEnd("kube-apiserver"), p.logEnd("etcd")))
}

// awaitControllers waits until one of them, and so all, has begun to work: every namespace has a ServiceAccount.
func (p *Plane) awaitControllers() {
	target := "/api/v1/namespaces/default/serviceaccounts/default"
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		p.mustRun()
		if p.api.must(http.MethodGet, target, "", nil, http.StatusNotFound).ok() {
			time.Sleep(time.Second)
			return
		}
	}
	panic(failure("the controllers did not begin; their log ends with:\n%s", p.logEnd("kube-controller-manager")))
}

// end ends one process and waits for it.
func (p *Plane) end(name string) {
	process := p.processes[name]
	if process == nil {
		return
	}
	delete(p.processes, name)
	_ = process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(3*time.Second, func() { _ = process.Kill() })
	<-process.gone
	timer.Stop()
}

// pause stops a process where it is.
func (p *Plane) pause(name string) { _ = p.processes[name].Signal(syscall.SIGSTOP) }

func (p *Plane) resume(name string) { _ = p.processes[name].Signal(syscall.SIGCONT) }

func (p *Plane) stop() {
	names := []string{"kube-scheduler", "recording-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"}
	for _, name := range names {
		if process := p.processes[name]; process != nil {
			_ = process.Kill()
			<-process.gone
			delete(p.processes, name)
		}
	}
	if os.Getenv("CMSIM_KEEP_LOGS") == "" {
		_ = os.RemoveAll(p.folder)
	}
}
