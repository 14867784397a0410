//! A cluster of real components, its hosts, and `cmsim apply` on it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;

/// What every command line of a case begins with.
pub const TO: &str = "v1.36.3";

/// A running cluster; it ends with this value.
pub struct Cluster {
    folder: tempfile::TempDir,
    recorder: Child,
    runtime: tokio::runtime::Runtime,
    client: kube::Client,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.recorder.id().to_string()).status();
        let _ = self.recorder.wait();
    }
}

impl Cluster {
    /// Brings a cluster of so many nodes up, with these objects (YAML, a list indented by two). Upgrades restart the kubelet only.
    pub fn start(light: &Path, nodes: usize, objects: &str) -> Cluster {
        Cluster::start_with_hosts(light, nodes, "mode: none, seconds: 0.3", objects)
    }

    /// As `start`; `down`: what an upgrade does to a host (DRAINS.md, `options.down`).
    pub fn start_with_hosts(light: &Path, nodes: usize, down: &str, objects: &str) -> Cluster {
        let folder = tempfile::tempdir().unwrap();
        let scenario = folder.path().join("scenario.yaml");
        let text = format!(
            "name: light\nkind: drain\nnodes: {{count: {nodes}}}\noptions: {{old_version: v1.35.4, down: {{{down}}}}}\n\
             objects:\n{objects}"
        );
        std::fs::write(&scenario, text).unwrap();
        let version = std::fs::read_to_string(light.join("version")).unwrap();
        let mut recorder = Command::new(light.join("recorder"))
            .arg("-bin")
            .arg(light.join("bin"))
            .args(["-version", version.trim(), "-limit", "30m", "-out"])
            .arg(folder.path())
            .arg("serve")
            .arg(&scenario)
            .spawn()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        await_that("the cluster is ready", Duration::from_secs(120), || {
            assert!(recorder.try_wait().unwrap().is_none(), "the cluster does not come up");
            folder.path().join("ready").exists()
        });
        let client = runtime.block_on(async {
            let read = Kubeconfig::read_from(folder.path().join("kubeconfig")).unwrap();
            let config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.unwrap();
            kube::Client::try_from(config).unwrap()
        });
        let host = "set -e\necho \"$JOB $NODE $VERSION $ROLE\"\nrm -f \"$HOSTS/$NODE.done\"\necho \"$VERSION\" > \"$HOSTS/.$NODE.new\"\n\
                    mv \"$HOSTS/.$NODE.new\" \"$HOSTS/$NODE\"\nwhile [ ! -e \"$HOSTS/$NODE.done\" ]; do sleep 0.05; done\n";
        std::fs::write(folder.path().join("host.sh"), host).unwrap();
        Cluster { folder, recorder, runtime, client }
    }

    /// A file of the cluster's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `cmsim apply` with a few walks, no backup, and the played hosts.
    pub fn apply(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cmsim"));
        command
            .args(["apply", "--to", TO, "--walks", "5", "--no-backup", "--yes"])
            .args(["--attest", "release-notes,add-ons,graceful-stop,no-other-work", "--kubeconfig"])
            .arg(self.file("kubeconfig"))
            .args(["--host-command", &format!("sh {}", self.file("host.sh").display())])
            .args(more)
            .env("XDG_STATE_HOME", self.file("state"))
            .env("HOSTS", self.file("hosts"))
            .stdin(Stdio::null());
        command
    }

    /// Runs `cmsim apply` to its end.
    pub fn apply_to_its_end(&self, more: &[&str]) -> Output {
        let output = self.apply(more).output().unwrap();
        eprintln!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Runs `cmsim status`.
    pub fn status(&self, more: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cmsim"));
        command.args(["status", "--kubeconfig"]).arg(self.file("kubeconfig")).args(more).output().unwrap()
    }

    /// Asks for a serving certificate, as the kubelet of a node does.
    pub fn request_certificate(&self, name: &str, node: &str, pem: &str) {
        let read = Kubeconfig::read_from(self.file("kubeconfig")).unwrap();
        let mut request = k8s_openapi::api::certificates::v1::CertificateSigningRequest::default();
        request.metadata.name = Some(name.to_owned());
        request.spec.request.0 = pem.as_bytes().to_vec();
        request.spec.signer_name = "kubernetes.io/kubelet-serving".to_owned();
        request.spec.usages = Some(vec!["digital signature".to_owned(), "server auth".to_owned()]);
        self.runtime.block_on(async {
            let mut config = kube::Config::from_custom_kubeconfig(read, &KubeConfigOptions::default()).await.unwrap();
            config.auth_info.impersonate = Some(format!("system:node:{node}"));
            config.auth_info.impersonate_groups = Some(vec!["system:nodes".to_owned(), "system:masters".to_owned()]);
            let client = kube::Client::try_from(config).unwrap();
            Api::all(client).create(&Default::default(), &request).await.unwrap();
        });
    }

    /// How often the host of a node was upgraded.
    pub fn host_runs(&self, node: &str) -> u32 {
        let read = std::fs::read_to_string(self.file(&format!("hosts/{node}.count")));
        read.map_or(0, |text| text.trim().parse().unwrap())
    }

    fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        let (group, plural) = match kind {
            "Node" => ("", "nodes"),
            "Pod" => ("", "pods"),
            "ConfigMap" => ("", "configmaps"),
            "Deployment" => ("apps", "deployments"),
            "PodDisruptionBudget" => ("policy", "poddisruptionbudgets"),
            "Lease" => ("coordination.k8s.io", "leases"),
            "CertificateSigningRequest" => ("certificates.k8s.io", "certificatesigningrequests"),
            "ClusterRole" => ("rbac.authorization.k8s.io", "clusterroles"),
            "ClusterRoleBinding" => ("rbac.authorization.k8s.io", "clusterrolebindings"),
            "Role" => ("rbac.authorization.k8s.io", "roles"),
            "RoleBinding" => ("rbac.authorization.k8s.io", "rolebindings"),
            other => panic!("{other}"),
        };
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
        if namespace.is_empty() {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), namespace, &resource)
        }
    }

    /// All objects of a kind.
    pub fn list(&self, kind: &str) -> Vec<Value> {
        let list = self.runtime.block_on(self.api(kind, "").list(&Default::default())).unwrap();
        list.items.iter().map(|object| serde_json::to_value(object).unwrap()).collect()
    }

    /// An object, if it is there.
    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let found = self.runtime.block_on(self.api(kind, namespace).get_opt(name)).unwrap();
        found.map(|object| serde_json::to_value(&object).unwrap())
    }

    /// Merges a patch into an object.
    pub fn patch(&self, kind: &str, namespace: &str, name: &str, patch: &Value) {
        let api = self.api(kind, namespace);
        self.runtime.block_on(api.patch(name, &PatchParams::default(), &Patch::Merge(patch))).unwrap();
    }

    /// Creates an object.
    pub fn create(&self, kind: &str, namespace: &str, object: Value) {
        let object: DynamicObject = serde_json::from_value(object).unwrap();
        self.runtime.block_on(self.api(kind, namespace).create(&Default::default(), &object)).unwrap();
    }

    /// Ready pods with a label `app`.
    pub fn ready(&self, app: &str) -> usize {
        let is_ready = |pod: &&Value| {
            let conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
            pod["metadata"]["labels"]["app"] == app
                && pod["metadata"]["deletionTimestamp"].is_null()
                && conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True")
        };
        self.list("Pod").iter().filter(is_ready).count()
    }

    /// Nothing of a run is left: every node at the target, schedulable, without a record; the lock given back.
    pub fn assert_done(&self) {
        for node in self.list("Node") {
            let name = &node["metadata"]["name"];
            assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], TO, "{name}");
            assert!(node["spec"]["unschedulable"].is_null(), "{name} is cordoned");
            assert!(
                node["metadata"]["annotations"]["cmsim.dev/run"].is_null(),
                "{name} has a record: {}",
                node["metadata"]["annotations"]
            );
        }
        let lease = self.get("Lease", "kube-system", "cmsim-upgrade").unwrap();
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        assert_eq!(holder, "", "the lock is held");
    }

    /// Every event of every journal is one that the model allows; what `conform` says of them. The journals are kept for the one who looks into them.
    pub fn assert_journal(&self) -> String {
        let folder = self.file("state/cmsim");
        let files: Vec<PathBuf> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
            .collect();
        assert!(!files.is_empty(), "no journal in {}", folder.display());
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("journals");
        std::fs::create_dir_all(&kept).unwrap();
        for file in &files {
            std::fs::copy(file, kept.join(file.file_name().unwrap())).unwrap();
        }
        let output =
            Command::new(env!("CARGO_BIN_EXE_cmsim")).args(["conform", "journal"]).args(&files).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        println!("{said}");
        let wrong: Vec<&str> = said.lines().filter(|line| line.contains("the model says")).collect();
        let kept = kept.display();
        assert_eq!(output.status.code(), Some(0), "a journal, kept in {kept}, does not pass: {wrong:#?}");
        said
    }

    /// No run has written anything.
    pub fn assert_untouched(&self) {
        for node in self.list("Node") {
            assert!(node["spec"]["unschedulable"].is_null(), "{node}");
            assert!(node["metadata"]["annotations"]["cmsim.dev/run"].is_null(), "{node}");
            assert_eq!(node["status"]["nodeInfo"]["kubeletVersion"], "v1.35.4");
        }
    }
}

/// A run whose lines of JSON are read while it goes on.
pub struct Running {
    /// The process.
    pub child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    /// Starts it.
    pub fn start(mut command: Command) -> Running {
        let mut child = command.args(["-o", "json"]).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Running { child, lines }
    }

    /// Waits for the next line of an action but the taking of the lock; `None`: the run has ended.
    pub fn next_action(&mut self) -> Option<Value> {
        for line in self.lines.by_ref() {
            let Ok(value) = serde_json::from_str::<Value>(&line.ok()?) else { continue };
            if value["ev"] == "act" && value["what"] != "take-lock" {
                return Some(value);
            }
        }
        None
    }

    /// Ends it at once, as `kill -9` does.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal.
    pub fn signal(&self, name: &str) {
        Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
    }

    /// Its exit code.
    pub fn wait(mut self) -> i32 {
        for _ in self.lines.by_ref() {}
        self.child.wait().unwrap().code().unwrap()
    }
}

/// Waits until something holds.
pub fn await_that(what: &str, allowed: Duration, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < allowed, "not within {allowed:?}: {what}");
        sleep(Duration::from_millis(100));
    }
}
