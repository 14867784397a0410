//! An API server that is played as far as `cmsim apply` needs one: objects in a table, lists, single objects, merge patches, watches
//! that say nothing, discovery. It writes down every request that changes something.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// Kinds that it serves: group, plural, kind.
const KINDS: [(&str, &str, &str); 12] = [
    ("", "nodes", "Node"),
    ("", "namespaces", "Namespace"),
    ("", "pods", "Pod"),
    ("", "configmaps", "ConfigMap"),
    ("", "secrets", "Secret"),
    ("", "events", "Event"),
    ("apps", "deployments", "Deployment"),
    ("apps", "replicasets", "ReplicaSet"),
    ("policy", "poddisruptionbudgets", "PodDisruptionBudget"),
    ("coordination.k8s.io", "leases", "Lease"),
    ("example.org", "widgets", "Widget"),
    ("example.org", "closed", "Closed"),
];

/// Group, plural, namespace, name.
type Key = (String, String, String, String);

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, Value>,
    /// Kinds that nobody may list.
    closed: BTreeSet<String>,
    /// Pods that a budget holds.
    held: BTreeSet<String>,
    changes: Vec<String>,
}

pub struct Api {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

impl Api {
    /// Starts with nodes of this address, the first of the control plane, and a few objects.
    pub fn start(nodes: &[&str], address: &str) -> Api {
        let api = Api { port: 0, state: Arc::default() };
        for (number, name) in nodes.iter().enumerate() {
            let label = if number == 0 { "node-role.kubernetes.io/control-plane" } else { "own" };
            let versions = json!({"kubeletVersion": "v1.36.3", "containerRuntimeVersion": "containerd://2.1.3"});
            api.put(
                "",
                "nodes",
                "",
                name,
                json!({
                    "metadata": {"labels": {label: "", "kubernetes.io/hostname": name}},
                    "spec": {},
                    "status": {
                        "addresses": [{"type": "InternalIP", "address": address}],
                        "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
                        "conditions": [{"type": "Ready", "status": "True"}],
                        "nodeInfo": versions,
                    },
                }),
            );
        }
        for name in ["default", "kube-system"] {
            api.put("", "namespaces", "", name, json!({}));
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::clone(&api.state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                std::thread::spawn(move || drop(serve(stream, &state)));
            }
        });
        Api { port, state: api.state }
    }

    /// Puts an object in.
    pub fn put(&self, group: &str, plural: &str, namespace: &str, name: &str, mut object: Value) {
        object["metadata"]["name"] = json!(name);
        object["metadata"]["uid"] = json!(format!("{plural}-{name}"));
        object["metadata"]["resourceVersion"] = json!("1");
        object["metadata"]["managedFields"] = json!([{"manager": "x"}]);
        if !namespace.is_empty() {
            object["metadata"]["namespace"] = json!(namespace);
        }
        let key = [group, plural, namespace, name].map(str::to_owned);
        self.state.lock().unwrap().objects.insert(key.into(), object);
    }

    /// Forbids that a kind is listed.
    pub fn close(&self, plural: &str) {
        self.state.lock().unwrap().closed.insert(plural.to_owned());
    }

    /// A budget forbids that this pod is evicted.
    pub fn hold(&self, pod: &str) {
        self.state.lock().unwrap().held.insert(pod.to_owned());
    }

    /// An object as it is now.
    pub fn get(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = [group, plural, namespace, name].map(str::to_owned);
        self.state.lock().unwrap().objects.get(&key.into()).cloned()
    }

    /// Requests that changed something, as `METHOD path`.
    pub fn changes(&self) -> Vec<String> {
        self.state.lock().unwrap().changes.clone()
    }

    /// Writes a kubeconfig.
    pub fn kubeconfig(&self, file: &Path) {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
             clusters: [{{name: c, cluster: {{server: 'http://127.0.0.1:{}'}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n",
            self.port
        );
        std::fs::write(file, text).unwrap();
    }
}

/// One request; the connection ends with its answer.
fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next().map(str::to_owned), words.next().map(str::to_owned)) else {
        return Ok(());
    };
    let mut length = 0;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut out = stream;
    if method == "GET" && query.contains("watch=") {
        write!(out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")?;
        out.flush()?;
        // Until the other end goes away.
        return reader.read(&mut [0]).map(drop);
    }
    let (code, answer) = answer(&method, path, query, body, &mut state.lock().unwrap());
    let text = answer.to_string();
    write!(
        out,
        "HTTP/1.1 {code} X\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    )
}

fn status(code: u16, message: &str) -> (u16, Value) {
    let status = if code < 300 { "Success" } else { "Failure" };
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        409 => "Conflict",
        429 => "TooManyRequests",
        _ => "",
    };
    let value = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": status, "message": message, "reason": reason, "code": code});
    (code, value)
}

fn answer(method: &str, path: &str, query: &str, body: Value, state: &mut State) -> (u16, Value) {
    match path {
        "/version" => {
            return (
                200,
                json!({"major": "1", "minor": "36", "gitVersion": "v1.36.3", "gitCommit": "", "gitTreeState": "",
            "buildDate": "", "goVersion": "", "compiler": "", "platform": ""}),
            );
        }
        "/api" => return (200, discovery(&[""])),
        "/apis" => return (200, discovery(&["apps", "policy", "coordination.k8s.io", "example.org"])),
        path if path.ends_with("/selfsubjectaccessreviews") => {
            let mut review = body;
            review["status"] = json!({"allowed": true});
            return (201, review);
        }
        _ => {}
    }
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let (group, rest) = match parts.as_slice() {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => return status(404, "no such path"),
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let dry = query.contains("dryRun=All");
    if method != "GET" && !dry {
        state.changes.push(format!("{method} {path}"));
    }
    match (method, rest) {
        ("POST", [_, pod, "eviction"]) if state.held.contains(*pod) => {
            status(429, "Cannot evict pod as it would violate the pod's disruption budget.")
        }
        ("POST", [_, _, "eviction"]) => status(if dry { 201 } else { 500 }, "played"),
        ("GET", [plural]) if state.closed.contains(*plural) => status(403, &format!("{plural} is forbidden")),
        ("GET", [plural]) => {
            let of_kind = state.objects.iter().filter(|(key, _)| key.0 == group && key.1 == *plural);
            let items: Vec<&Value> = of_kind.map(|(_, object)| object).collect();
            (200, json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}))
        }
        (method, [plural, rest @ ..]) => {
            let name = rest
                .first()
                .map_or_else(|| body["metadata"]["name"].as_str().unwrap().to_owned(), |name| (*name).to_owned());
            let key: Key = (group.to_owned(), (*plural).to_owned(), namespace.to_owned(), name);
            let known = state.objects.get(&key).cloned();
            let new = match (method, known) {
                ("GET", Some(known)) => return (200, known),
                ("PATCH", Some(mut known)) => {
                    merge(&mut known, &body);
                    known
                }
                ("POST", None) | ("PUT", Some(_)) => body,
                ("GET" | "PUT" | "PATCH", None) => return status(404, "not found"),
                _ => return status(409, "it is there already"),
            };
            if !dry {
                state.objects.insert(key, new.clone());
            }
            (200, new)
        }
        _ => status(405, "not played"),
    }
}

fn merge(object: &mut Value, patch: &Value) {
    match (object, patch) {
        (Value::Object(object), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    object.remove(key);
                } else {
                    merge(object.entry(key).or_insert_with(|| json!({})), value);
                }
            }
        }
        (object, patch) => *object = patch.clone(),
    }
}

fn discovery(groups: &[&str]) -> Value {
    let of_group = |group: &&str| {
        let kinds = KINDS.iter().filter(|(of, ..)| of == group).map(|(_, plural, kind)| {
            json!({"resource": plural, "responseKind": {"group": group, "version": "v1", "kind": kind}, "scope": "Namespaced",
                "singularResource": "", "verbs": ["get", "list", "watch"]})
        });
        json!({"metadata": {"name": group}, "versions": [{"version": "v1", "freshness": "Current", "resources": kinds.collect::<Vec<_>>()}]})
    };
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": groups.iter().map(of_group).collect::<Vec<_>>()})
}
