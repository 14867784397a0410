//! The cases. Each names what of MISSION.md it shows.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use super::cluster::{Cluster, Running, TO, await_that};
use super::terminal::Typed;

type Case = fn(&Path);

/// All cases by name.
pub const ALL: &[(&str, Case)] = &[
    ("the run reaches its end and keeps what was predicted", to_its_end),
    ("killed again and again it ends in the same state (M19)", killed_everywhere),
    ("two at once: one is refused (M11)", two_at_once),
    ("a stolen lock stops the run (M11)", stolen_lock),
    ("an interrupt leaves a state that goes on (M19)", interrupted),
    ("an unmanaged pod is refused with the list (M14)", unmanaged),
    ("a blocked pod stops the run, and it goes on when that is put right (M15)", blocked),
    ("a disruption has to be accepted by name", disruptive),
    ("missing rights are named", missing_rights),
    ("a workload that falls under its prediction stops the run", under_prediction),
    ("hosts that go away during their upgrade are understood in the journal", hosts_away),
    ("what others do during a run is told from what follows of it", others_at_work),
    ("hooks run around each node, its label comes and goes, and others see the run (M2, M17)", around_nodes),
    (
        "the operator is asked around each node, and Ctrl-C at the question leaves a state that goes on (M2, M19)",
        prompted,
    ),
    ("a host that fails is left out by name and taken up again (M19)", left_out),
];

/// A Deployment, a StatefulSet with a budget each.
const QUIET: &str = r#"
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web, namespace: shop}
    spec:
      replicas: 4
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}, annotations: {sim/ready-seconds: "0.5"}}
        spec: {containers: [{name: c, image: i}], terminationGracePeriodSeconds: 3}
  - apiVersion: policy/v1
    kind: PodDisruptionBudget
    metadata: {name: web, namespace: shop}
    spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
  - apiVersion: apps/v1
    kind: StatefulSet
    metadata: {name: db, namespace: shop}
    spec:
      replicas: 3
      serviceName: db
      selector: {matchLabels: {app: db}}
      template:
        metadata: {labels: {app: db}}
        spec: {containers: [{name: c, image: i}], terminationGracePeriodSeconds: 3}
  - apiVersion: policy/v1
    kind: PodDisruptionBudget
    metadata: {name: db, namespace: shop}
    spec: {minAvailable: 2, selector: {matchLabels: {app: db}}}
"#;

/// One replica, no budget.
const SINGLE: &str = r#"
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: single, namespace: shop}
    spec:
      replicas: 1
      selector: {matchLabels: {app: single}}
      template:
        metadata: {labels: {app: single}}
        spec: {containers: [{name: c, image: i}], terminationGracePeriodSeconds: 3}
"#;

/// The lowest number of ready pods of an application while something goes on, as another client sees it.
struct LowestReady {
    stop: Arc<AtomicBool>,
    lowest: Arc<AtomicUsize>,
}

impl LowestReady {
    fn watch<'scope>(
        scope: &'scope std::thread::Scope<'scope, '_>,
        cluster: &'scope Cluster,
        app: &'static str,
    ) -> LowestReady {
        let (stop, lowest) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(usize::MAX)));
        let (until, to) = (Arc::clone(&stop), Arc::clone(&lowest));
        scope.spawn(move || {
            while !until.load(Ordering::SeqCst) {
                to.fetch_min(cluster.ready(app), Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        LowestReady { stop, lowest }
    }

    fn end(self) -> usize {
        self.lowest.load(Ordering::SeqCst)
    }
}

impl Drop for LowestReady {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn to_its_end(light: &Path) {
    let cluster = Cluster::start(light, 3, QUIET);
    std::thread::scope(|scope| {
        let web = LowestReady::watch(scope, &cluster, "web");
        let db = LowestReady::watch(scope, &cluster, "db");
        let output = cluster.apply_to_its_end(&[]);
        let (web, db) = (web.end(), db.end());
        assert_eq!(output.status.code(), Some(0));
        assert!(web >= 3, "web had {web} ready pods");
        assert!(db >= 2, "db had {db} ready pods");
    });
    cluster.assert_done();
    for node in ["n1", "n2", "n3"] {
        assert_eq!(cluster.host_runs(node), 1, "{node}");
    }
    let said = cluster.assert_journal();
    assert!(said.contains("eviction answers") && !said.contains("not modelled"), "{said}");
    let again = cluster.apply_to_its_end(&[]);
    assert_eq!(again.status.code(), Some(0), "nothing is left to do");
    assert_eq!(cluster.host_runs("n1"), 1);
}

fn killed_everywhere(light: &Path) {
    let cluster = Cluster::start(light, 4, QUIET);
    let (mut kills, mut points) = (0_u64, BTreeSet::new());
    std::thread::scope(|scope| {
        let web = LowestReady::watch(scope, &cluster, "web");
        let db = LowestReady::watch(scope, &cluster, "db");
        loop {
            let mut run = Running::start(cluster.apply(&[]));
            if kills >= 30 {
                assert_eq!(run.wait(), 0);
                break;
            }
            // Each run gets one action further and is killed some time later, while it waits or acts. One that is killed in the
            // middle of an eviction may leave its pod booked: the budget then allows nothing for two minutes (KUBERNETES.md B).
            let Some(last) = run.next_action() else {
                assert_eq!(run.wait(), 0);
                break;
            };
            std::thread::sleep(Duration::from_millis(kills * 61 % 307));
            run.kill();
            kills += 1;
            points.insert(format!("{} {}{}", last["what"], last["node"], last["pod"]));
        }
        let (web, db) = (web.end(), db.end());
        assert!(web >= 3, "web had {web} ready pods");
        assert!(db >= 2, "db had {db} ready pods");
    });
    cluster.assert_journal();
    println!("  killed {kills} times, after {} different actions", points.len());
    assert!(kills >= 20, "killed only {kills} times: {points:?}");
    cluster.assert_done();
    for node in ["n1", "n2", "n3", "n4"] {
        assert_eq!(cluster.host_runs(node), 1, "{node}");
    }
}

fn two_at_once(light: &Path) {
    let cluster = Cluster::start(light, 2, QUIET);
    let mut first = Running::start(cluster.apply(&[]));
    first.next_action().unwrap();
    let second = cluster.apply_to_its_end(&[]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("refused") && said.contains(&format!(":{}:", first.child.id())), "{said}");
    assert_eq!(first.wait(), 0);
    cluster.assert_done();
}

fn stolen_lock(light: &Path) {
    let cluster = Cluster::start(light, 3, QUIET);
    let mut run = Running::start(cluster.apply(&[]));
    run.next_action().unwrap();
    cluster.patch("Lease", "kube-system", "cmsim-upgrade", &json!({"spec": {"holderIdentity": "thief@elsewhere:1:x"}}));
    let mut after = 0;
    while run.next_action().is_some() {
        after += 1;
    }
    assert_eq!(run.wait(), 1);
    // The lock is renewed every 5 s: until then the run cannot know.
    assert!(after < 40, "{after} actions after the lock was stolen");
    let lease = cluster.get("Lease", "kube-system", "cmsim-upgrade").unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "thief@elsewhere:1:x", "the thief keeps it");
    let upgraded =
        cluster.list("Node").iter().filter(|node| node["status"]["nodeInfo"]["kubeletVersion"] == TO).count();
    assert!(upgraded < 3, "the run went on to its end");
}

fn interrupted(light: &Path) {
    let cluster = Cluster::start(light, 2, QUIET);
    let mut run = Running::start(cluster.apply(&[]));
    for _ in 0..4 {
        run.next_action().unwrap();
    }
    run.signal("-INT");
    assert_eq!(run.wait(), 1);
    let lease = cluster.get("Lease", "kube-system", "cmsim-upgrade").unwrap();
    assert_eq!(lease["spec"]["holderIdentity"].as_str().unwrap_or_default(), "", "the lock is given back");
    let output = cluster.apply_to_its_end(&[]);
    assert_eq!(output.status.code(), Some(0));
    cluster.assert_done();
    assert_eq!((cluster.host_runs("n1"), cluster.host_runs("n2")), (1, 1));
    cluster.assert_journal();
}

fn unmanaged(light: &Path) {
    let bare = r#"
  - apiVersion: v1
    kind: Pod
    metadata: {name: bare, namespace: shop, labels: {app: bare}}
    spec: {containers: [{name: c, image: i}], terminationGracePeriodSeconds: 1}
"#;
    let cluster = Cluster::start(light, 2, bare);
    for more in [&[][..], &["--even-if-blocked"]] {
        let output = cluster.apply_to_its_end(more);
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("shop/Pod/bare"), "{said}");
        cluster.assert_untouched();
    }
}

fn blocked(light: &Path) {
    let never = r#"
  - apiVersion: policy/v1
    kind: PodDisruptionBudget
    metadata: {name: single, namespace: shop}
    spec: {maxUnavailable: 0, selector: {matchLabels: {app: single}}}
"#;
    let cluster = Cluster::start(light, 2, &format!("{}{never}", SINGLE.replace("replicas: 1", "replicas: 2")));
    let refused = cluster.apply_to_its_end(&[]);
    assert_eq!(refused.status.code(), Some(1));
    cluster.assert_untouched();
    let output = cluster.apply_to_its_end(&["--even-if-blocked", "--drain-timeout", "3s"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said.lines().rev().find(|line| line.starts_with("stopped")).unwrap_or_default();
    assert!(last.contains("shop/Pod/single-"), "the pod is not named: {said}");
    cluster.patch("PodDisruptionBudget", "shop", "single", &json!({"spec": {"maxUnavailable": 1}}));
    await_that("the budget allows one", Duration::from_secs(10), || {
        cluster.get("PodDisruptionBudget", "shop", "single").unwrap()["status"]["disruptionsAllowed"] == 1
    });
    let output = cluster.apply_to_its_end(&["--even-if-blocked", "--drain-timeout", "3s"]);
    assert_eq!(output.status.code(), Some(0));
    cluster.assert_done();
}

fn disruptive(light: &Path) {
    let cluster = Cluster::start(light, 2, SINGLE);
    let refused = cluster.apply_to_its_end(&[]);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("--accept-disruption shop/Deployment/single"), "{said}");
    cluster.assert_untouched();
    let output = cluster.apply_to_its_end(&["--accept-disruption", "shop/Deployment/single"]);
    assert_eq!(output.status.code(), Some(0));
    cluster.assert_done();
}

fn missing_rights(light: &Path) {
    let cluster = Cluster::start(light, 1, SINGLE);
    let mut config = std::fs::read_to_string(cluster.file("kubeconfig")).unwrap();
    config = config.replace("user: {token:", "user: {as: limited, token:");
    std::fs::write(cluster.file("limited"), config).unwrap();
    let manifest = include_str!("../../docs/rbac.yaml");
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(manifest).unwrap();
    for role in &documents {
        let kind = role["kind"].as_str().unwrap();
        let namespace = role["metadata"]["namespace"].as_str().unwrap_or_default();
        cluster.create(kind, namespace, role.clone());
        let name = &role["metadata"]["name"];
        let binding = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": format!("{kind}Binding"),
            "metadata": {"name": name, "namespace": role["metadata"]["namespace"]},
            "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "limited"}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        });
        cluster.create(&format!("{kind}Binding"), namespace, binding);
    }
    std::fs::copy(cluster.file("limited"), cluster.file("kubeconfig")).unwrap();
    let mut rules = cluster.get("ClusterRole", "", "cmsim").unwrap()["rules"].clone();
    let all = rules.clone();
    rules.as_array_mut().unwrap().retain(|rule| !rule["verbs"].as_array().unwrap().contains(&json!("patch")));
    cluster.patch("ClusterRole", "", "cmsim", &json!({"rules": rules}));
    let refused = cluster.apply_to_its_end(&["--accept-disruption", "shop/Deployment/single"]);
    assert_eq!(refused.status.code(), Some(2));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("patch nodes") && !said.contains("list nodes"), "{said}");
    cluster.assert_untouched();
    // With the manifest as it is the whole run works.
    cluster.patch("ClusterRole", "", "cmsim", &json!({"rules": all}));
    let output = cluster.apply_to_its_end(&[
        "--accept-disruption",
        "shop/Deployment/single",
        "--even-if-blocked",
        "--settle",
        "none",
    ]);
    assert_eq!(output.status.code(), Some(0));
}

fn under_prediction(light: &Path) {
    let cluster = Cluster::start(light, 3, QUIET);
    let mut run = Running::start(cluster.apply(&[]));
    run.next_action().unwrap();
    // Somebody takes the application away.
    cluster.patch("Deployment", "shop", "web", &json!({"spec": {"replicas": 1}}));
    assert_eq!(run.wait(), 1);
    let record = cluster.get("ConfigMap", "kube-system", "cmsim-run").unwrap();
    let text = record["data"]["run.json"].as_str().unwrap();
    assert!(text.contains("shop/Deployment/web has"), "{text}");
    cluster.assert_journal();
}

fn hosts_away(light: &Path) {
    let agent = r#"
  - apiVersion: apps/v1
    kind: DaemonSet
    metadata: {name: agent, namespace: shop}
    spec:
      selector: {matchLabels: {app: agent}}
      template:
        metadata: {labels: {app: agent}}
        spec: {containers: [{name: c, image: i}], terminationGracePeriodSeconds: 3}
"#;
    let objects = format!("{}{QUIET}", agent.trim_end());
    let cluster = Cluster::start_with_hosts(light, 2, "mode: shutdown, seconds: 1.5", &objects);
    let output = cluster.apply_to_its_end(&[]);
    assert_eq!(output.status.code(), Some(0));
    cluster.assert_done();
    let said = cluster.assert_journal();
    assert!(said.contains("2 node.notready") && !said.contains("not modelled"), "{said}");
}

fn others_at_work(light: &Path) {
    let cluster = Cluster::start(light, 3, QUIET);
    let mut run = Running::start(cluster.apply(&["--no-pause"]));
    for _ in 0..4 {
        run.next_action().unwrap();
    }
    cluster.patch(
        "Deployment",
        "shop",
        "web",
        &json!({"spec": {"template": {"metadata": {"labels": {"release": "2"}}}}}),
    );
    let other: serde_json::Value = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "other", "namespace": "shop"},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": "other"}},
            "template": {
                "metadata": {"labels": {"app": "other"}},
                "spec": {"containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": 3},
            },
        },
    });
    cluster.create("Deployment", "shop", other);
    cluster.patch("Deployment", "shop", "web", &json!({"spec": {"replicas": 5}}));
    cluster.patch("PodDisruptionBudget", "shop", "web", &json!({"spec": {"maxUnavailable": 2}}));
    assert_eq!(run.wait(), 0);
    cluster.assert_done();
    cluster.assert_journal();
}

/// Answers every request with 204 and keeps what it was told, until its value goes.
fn listen() -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let to = Arc::clone(&told);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let (mut text, mut buffer) = (String::new(), [0; 4096]);
            while !text.ends_with('}') {
                let read = stream.read(&mut buffer).unwrap();
                text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            }
            let body: serde_json::Value = serde_json::from_str(text.split("\r\n\r\n").nth(1).unwrap()).unwrap();
            to.lock().unwrap().push(format!("{} {}", body["action"].as_str().unwrap(), body["node"].as_str().unwrap()));
            stream.write_all(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").unwrap();
        }
    });
    (address, told)
}

fn around_nodes(light: &Path) {
    const LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
    let cluster = Cluster::start(light, 3, QUIET);
    let nothing = cluster.status(&[]);
    assert_eq!(nothing.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&nothing.stdout).contains("no run"));
    // The operator's own label stays.
    cluster.patch("Node", "", "n2", &json!({"metadata": {"labels": {LABEL: "mine"}}}));
    cluster.request_certificate("good-1", "n1", include_str!("../../fixtures/certificates/named.pem"));
    cluster.request_certificate("good-3", "n3", include_str!("../../fixtures/certificates/named-3.pem"));
    cluster.request_certificate("foreign-3", "n3", include_str!("../../fixtures/certificates/foreign.pem"));
    let (url, told) = listen();
    let said = cluster.file("said");
    let say = |word: &str| format!("echo {word} $NODE $FROM $VERSION $ROLE >> {}", said.display());
    let tries = format!("echo >> {0}.$NODE; test $(wc -l < {0}.$NODE) -ge 2", cluster.file("tries").display());
    let (before, after) = (say("before"), say("after"));
    let flags: &[&str] = &[
        "--exclude-label",
        "--routing-grace",
        "3s",
        "--stop-routing-url",
        &url,
        "--resume-routing-url",
        &url,
        "--verify-routing-command",
        &tries,
        "--before-node",
        &before,
        "--after-node",
        &after,
        "--approve-serving-certificates",
    ];
    let label = |node: &str| cluster.get("Node", "", node).unwrap()["metadata"]["labels"][LABEL].clone();
    let mut run = Running::start(cluster.apply(flags));
    // Killed while load balancers get their time: the label stands, and the next run knows whose it is.
    await_that("n1 is labelled", Duration::from_secs(60), || label("n1") == "");
    let running: serde_json::Value = serde_json::from_slice(&cluster.status(&["-o", "json"]).stdout).unwrap();
    assert_eq!(running["state"], "running", "{running}");
    let state = &running["nodes"][0]["state"];
    assert!(state == "routing is being stopped" && running["lock"]["expired"] == false, "{running}");
    assert_eq!(running["next"], json!(["stop-routing n1", "cordon n1"]), "{running}");
    run.kill();
    let killed = cluster.apply_to_its_end(&["--exclude-label", "--before-node", "exit 1"]);
    assert_eq!(killed.status.code(), Some(1), "n2 is not touched: its hook fails");
    let unfinished = cluster.status(&[]);
    let text = String::from_utf8_lossy(&unfinished.stdout).into_owned();
    assert!(
        unfinished.status.code() == Some(1) && text.contains("UNFINISHED") && text.contains("not touched"),
        "{text}"
    );
    assert!(cluster.get("Node", "", "n2").unwrap()["spec"]["unschedulable"].is_null());
    assert!(label("n1").is_null(), "n1 is back");
    run = Running::start(cluster.apply(flags));
    while let Some(action) = run.next_action() {
        if action["what"] == "upgrade-host" && action["node"] == "n3" {
            assert_eq!(label("n3"), "");
        }
    }
    assert_eq!(run.wait(), 0);
    cluster.assert_done();
    assert!(label("n3").is_null() && label("n2") == "mine");
    let approved = |name: &str| {
        let request = cluster.get("CertificateSigningRequest", "", name).unwrap();
        request["status"]["conditions"][0]["type"] == "Approved"
    };
    assert!(!approved("foreign-3"));
    assert!(!approved("good-1"), "n1 came back under a command without that flag");
    assert!(approved("good-3"));
    let said = std::fs::read_to_string(&said).unwrap();
    let line = |word: &str, node: &str| format!("{word} {node} v1.35.4 {TO} worker\n");
    // n1 was begun by the run that was killed and ended by one without that hook.
    let wanted: String = [("before", "n1"), ("before", "n2"), ("after", "n2"), ("before", "n3"), ("after", "n3")]
        .map(|(word, node)| line(word, node))
        .concat();
    assert_eq!(said, wanted);
    let told = told.lock().unwrap().clone();
    let both = |node: &str| [format!("stop-routing {node}"), format!("resume-routing {node}")];
    assert_eq!(told, [vec!["stop-routing n1".to_owned()], both("n2").to_vec(), both("n3").to_vec()].concat());
    let done = cluster.status(&["-o", "json"]);
    assert_eq!(done.status.code(), Some(0));
    let done: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(done["state"], "done", "{done}");
    assert!(done["workloads"][0]["lowestSeen"].as_u64() >= done["workloads"][0]["lowestPredicted"].as_u64(), "{done}");
}

fn left_out(light: &Path) {
    let cluster = Cluster::start(light, 3, QUIET);
    let host = std::fs::read_to_string(cluster.file("host.sh")).unwrap();
    std::fs::write(cluster.file("host.sh"), format!("test $NODE != n1 || exit 7\n{host}")).unwrap();
    let output = cluster.apply_to_its_end(&[]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let command = said.lines().find(|line| line.ends_with("--skip-node n1")).unwrap_or_else(|| panic!("{said}"));
    assert!(command.contains("cmsim apply --to v1.36.3"), "{command}");
    let output = cluster.apply_to_its_end(&["--skip-node", "n1"]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("node n1 is left as it is"), "{said}");
    let n1 = cluster.get("Node", "", "n1").unwrap();
    assert_eq!(n1["spec"]["unschedulable"], true, "left as it is");
    assert!(!n1["metadata"]["annotations"]["cmsim.dev/run"].is_null());
    assert_eq!((cluster.host_runs("n2"), cluster.host_runs("n3")), (1, 1));
    std::fs::write(cluster.file("host.sh"), host).unwrap();
    let output = cluster.apply_to_its_end(&[]);
    assert_eq!(output.status.code(), Some(0));
    cluster.assert_done();
    assert_eq!((cluster.host_runs("n1"), cluster.host_runs("n2")), (1, 1));
}

fn prompted(light: &Path) {
    let cluster = Cluster::start(light, 2, QUIET);
    let mut first = Typed::start(&cluster.apply(&["--prompt"]));
    first.answer("take n1 (v1.35.4 -> v1.36.3) out of the load balancer, then press y", "y\n");
    first.answer("put n1 (v1.36.3) into the load balancer again", "y\n");
    first.answer("take n2", "\x03");
    let (code, text) = first.end();
    assert_eq!(code, Some(1), "{text}");
    let n2 = cluster.get("Node", "", "n2").unwrap();
    assert!(n2["spec"]["unschedulable"].is_null(), "it was not taken out of the load balancer");
    let without = cluster.apply_to_its_end(&[]);
    assert_eq!(without.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&without.stderr).contains("stopped routing to node n2"));
    let mut second = Typed::start(&cluster.apply(&["--prompt"]));
    second.answer("take n2", "y\n");
    second.answer("put n2", "y\n");
    let (code, text) = second.end();
    assert_eq!(code, Some(0), "{text}");
    cluster.assert_done();
    assert_eq!((cluster.host_runs("n1"), cluster.host_runs("n2")), (1, 1));
}
