//! Inputs with a defect each, and all of them in one: each is named with its place, and nothing else happens.

use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use super::{cmsim, error, gzip, out, write};

const NODE: &str = "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\nstatus: {nodeInfo: {kubeletVersion: v1.36.0}}\n";

/// An object of the namespace `shop`, with its own name.
fn object(version: &str, kind: &str, name: &str, rest: &str) -> String {
    format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: {name}, namespace: shop}}\n{rest}\n")
}

/// Lists of lists of ... by aliases: 9^10 words if they were written out.
fn aliases() -> String {
    let line =
        |c: u8| format!("{}: &{} [{}]\n", c as char, c as char, vec![format!("*{}", (c - 1) as char); 9].join(","));
    format!("a: &a [x,x,x,x,x,x,x,x,x]\n{}", (b'b'..=b'j').map(line).collect::<String>())
}

/// Documents with what must be said of each: after the file and the document, the object and the field.
fn defects() -> Vec<(String, &'static str)> {
    let deployment = |name: &str, spec: &str| object("apps/v1", "Deployment", name, &format!("spec: {spec}"));
    let pod = |name: &str, spec: &str| object("v1", "Pod", name, &format!("spec: {spec}"));
    let budget = |name: &str, spec: &str| object("policy/v1", "PodDisruptionBudget", name, &format!("spec: {spec}"));
    let text = |text: &str| text.to_owned();
    let long = "x".repeat(10_000_000);
    vec![
        (
            deployment("type", "{replicas: many}"),
            ": shop/Deployment/type: spec.replicas: invalid type: string \"many\", expected a whole number",
        ),
        (deployment("fraction", "{replicas: 1.5}"), ": shop/Deployment/fraction: spec.replicas: "),
        (deployment("huge", "{replicas: 99999999999}"), ": shop/Deployment/huge: spec.replicas: "),
        (
            deployment("negative", "{replicas: -1}"),
            ": shop/Deployment/negative: spec.replicas: invalid value: integer `-1`, expected a number from 0",
        ),
        (deployment("list", "[1]"), ": shop/Deployment/list: spec: invalid type: list, expected an object"),
        (
            deployment("selector", "{selector: app=web}"),
            ": shop/Deployment/selector: spec.selector: invalid type: string \"app=web\", expected an object",
        ),
        (
            deployment("operator", "{selector: {matchExpressions: [{key: a, operator: Near}]}}"),
            ": shop/Deployment/operator: spec.selector: \"Near\" is no operator (In",
        ),
        (
            deployment("value", "{selector: {matchLabels: {a: -x}}}"),
            ": shop/Deployment/value: spec.selector: \"-x\" is no label value",
        ),
        (
            deployment("surge", "{strategy: {rollingUpdate: {maxSurge: lots%}}}"),
            ": shop/Deployment/surge: spec.strategy.rollingUpdate.maxSurge: ",
        ),
        (
            deployment("over", "{strategy: {rollingUpdate: {maxUnavailable: 150%}}}"),
            ": shop/Deployment/over: spec.strategy.rollingUpdate.maxUnavailable: 150% is more",
        ),
        (budget("minus", "{maxUnavailable: -5%}"), ": shop/PodDisruptionBudget/minus: spec.maxUnavailable: "),
        (
            budget("much", "{minAvailable: 101%}"),
            ": shop/PodDisruptionBudget/much: spec.minAvailable: 101% is more than 100%",
        ),
        (
            budget("both", "{minAvailable: 1, maxUnavailable: 1}"),
            ": shop/PodDisruptionBudget/both: spec: has minAvailable and maxUnavailable",
        ),
        (
            pod("quantity", "{containers: [{resources: {requests: {cpu: 1core}}}]}"),
            ": shop/Pod/quantity: spec.containers[0].resources.requests.cpu: invalid value",
        ),
        (
            pod("less", "{containers: [{resources: {requests: {memory: -1Mi}}}]}"),
            ": shop/Pod/less: spec.containers[0].resources.requests.memory: ",
        ),
        (
            pod("containers", "{containers: {a: b}}"),
            ": shop/Pod/containers: spec.containers: invalid type: object, expected a list",
        ),
        (
            pod("effect", "{tolerations: [{effect: Never}]}"),
            ": shop/Pod/effect: spec.tolerations[0]: \"Never\" is no effect",
        ),
        (
            text("apiVersion: v1\nkind: Node\nmetadata: {name: time, creationTimestamp: yesterday}"),
            ": Node/time: metadata.creationTimestamp: ",
        ),
        (
            text("apiVersion: v1\nkind: Node\nmetadata: {name: old}\nstatus: {nodeInfo: {kubeletVersion: new}}"),
            ": Node/old: status.nodeInfo.kubeletVersion: ",
        ),
        (text("apiVersion: v1\nkind: Pod\nmetadata: {namespace: shop}"), ": Pod: metadata.name: is missing"),
        (
            text("apiVersion: v1\nkind: Pod\nmetadata: {name: 123}"),
            ": Pod: metadata.name: invalid type: integer `123`, expected text",
        ),
        (text("apiVersion: v1\nkind: Pod\nmetadata: [a]"), ": Pod: metadata: invalid type: list"),
        (
            text("{\"apiVersion\": \"v1\", \"kind\": \"Pod\", \"metadata\": {\"name\": \"a\\u0000\\u001b[31m\"}}"),
            ": Pod: metadata.name: \"a\\0\\u{1b}[31m\" is no name",
        ),
        (text("apiVersion: v1\nmetadata: {name: kindless, namespace: shop}"), ": shop/?/kindless: kind: is missing"),
        (text("apiVersion: v1\nkind: 3\nmetadata: {name: x}"), ": ?/x: kind: invalid type: integer `3`"),
        (
            text("kind: Pod\nmetadata: {name: versionless, namespace: shop}"),
            ": shop/Pod/versionless: apiVersion: is missing",
        ),
        (
            object("apps/v7", "Deployment", "future", ""),
            ": shop/Deployment/future: apiVersion: the API has no Deployment in apps/v7; expected apps/v1",
        ),
        (object("v1", "Deployment", "core", ""), ": shop/Deployment/core: apiVersion: the API has no Deployment in v1"),
        (object("a/b/c", "Deployment", "path", ""), ": shop/Deployment/path: apiVersion: \"a/b/c\" is no API version"),
        (text("apiVersion: v1\nkind: List\nitems: {a: b}"), ": List: items: expected a list, found an object"),
        (text("apiVersion: v1\nkind: PodList\nitems: many"), ": PodList: items: expected a list, found a text"),
        (text("apiVersion: v1\nkind: List"), ": List: items: is missing"),
        (
            text("apiVersion: v1\nkind: List\nitems:\n- just text\n- apiVersion: v1\n  kind: Pod\n  metadata: {}\n"),
            ", item 2: Pod: metadata.name: is missing",
        ),
        (
            text("apiVersion: v1\nkind: List\nitems:\n- apiVersion: \"v1\n- kind: Pod\n- apiVersion: v1\n"),
            ", item 1: line ",
        ),
        (
            text("{\"kind\": \"Status\", \"apiVersion\": \"v1\", \"message\": \"Unauthorized\"}"),
            ": Status: is an error of the API server and no object: Unauthorized",
        ),
        (text("just text"), ": expected a Kubernetes object, found a text; give the output of `kubectl get"),
        (text("apiVersion: v1\nkind: \"Po"), ": line "),
        (text("apiVersion: v1\nkind: Pod\nmetadata:\n\tname: a"), ": line "),
        (text("apiVersion: v1\nkind: Pod\nkind: Node"), ": line "),
        (text("a: &a [*a]"), ": line "),
        (format!("a: {}", "[".repeat(100_000)), ": line "),
        ((0..300).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(), "is nested more than 128 deep"),
        (aliases(), "its aliases repeat more than any dump does"),
        (
            pod("long", &format!("{{containers: [{{resources: {{requests: {{cpu: {long}}}}}}}]}}")),
            ": shop/Pod/long: spec.containers[0].resources.requests.cpu: ",
        ),
    ]
}

/// A run that ends soon, whatever it is given, and does not print much.
fn check(file: &Path) -> Output {
    let begun = Instant::now();
    let output = cmsim().args(["check", "--to", "v1.37.0", "--walks", "1", "-f"]).arg(file).output().unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60), "{}: {:?}", file.display(), begun.elapsed());
    assert!(output.stderr.len() < 20_000, "{}", output.stderr.len());
    output
}

#[test]
fn each_defect_is_named_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in defects() {
        let file = write(folder.path(), "dump.yaml", &text);
        let said = error(&check(&file));
        assert!(said.starts_with("error: the input has "), "{said}");
        assert!(said.contains(expected), "{expected}\n{said}");
        assert!(said.lines().skip(1).any(|line| line.contains("dump.yaml")), "{said}");
        assert!(said.contains("\nrepair what is named, leave those objects out, or take the dump again"), "{said}");
        assert!(!said.contains(['\0', '\u{1b}']), "{said:?}");
    }
}

#[test]
fn all_defects_of_one_file_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let defects = defects();
    let all: String = defects.iter().map(|(text, _)| format!("---\n{text}\n")).collect();
    let said = error(&check(&write(folder.path(), "all.yaml", all)));
    for (index, (_, expected)) in defects.iter().enumerate() {
        let place = format!("all.yaml, document {}", index + 1);
        let named = said.lines().any(|line| {
            let rest = line.split_once(&place).map(|(_, rest)| rest).filter(|rest| rest.starts_with([':', ',']));
            rest.is_some_and(|rest| rest.contains(expected))
        });
        assert!(named, "{place}{expected}\n{said}");
    }
}

#[test]
fn what_is_no_text_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let junk: Vec<u8> = (0..100_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let whole = gzip(NODE.repeat(50).as_bytes());
    let utf16: Vec<u8> = "\u{feff}kind: Node".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let list = "{\"kind\": \"List\", \"items\": [{\"apiVersion\": \"v1\", \"kind\": \"Node\", \"metadata\": {\"name\": \"a\"}}, {\"api";
    for (what, bytes, expected) in [
        ("binary", junk, "x: is neither YAML nor JSON: expected UTF-8 text, line 1 "),
        (
            "Latin-1",
            b"kind: Pod\nmetadata: {name: \xe4}\n".to_vec(),
            "x: is neither YAML nor JSON: expected UTF-8 text, line 2 ",
        ),
        (
            "NUL",
            b"kind: Pod\nmetadata: {name: \"a\0\"}\n".to_vec(),
            "x: is neither YAML nor JSON: line 2 holds a NUL byte",
        ),
        ("UTF-16", utf16, "x: is UTF-16, as `>` of PowerShell writes it: save it as UTF-8"),
        ("half a gzip", whole[..whole.len() - 12].to_vec(), "x: is no whole gzip file"),
        ("twice compressed", gzip(&whole), "x: is compressed twice"),
        ("gzip bomb", gzip(&vec![0; 256 << 20]), "x: is no whole gzip file: it is no text, or grows to more than"),
        ("empty", Vec::new(), "x: holds no Kubernetes object; give the output of `kubectl get nodes,pods,"),
        ("comments", b"\n# nothing\n---\n---\n".to_vec(), "x: holds no Kubernetes object"),
        ("half a JSON List", list.as_bytes().to_vec(), "item 2: EOF while parsing"),
        ("nested JSON", "{\"a\":".repeat(100_000).into_bytes(), "x: recursion limit exceeded at line 1"),
    ] {
        let said = error(&check(&write(folder.path(), "x", bytes)));
        assert!(said.contains(expected), "{what}: {said}");
    }
    #[cfg(unix)]
    {
        let said = error(&check(Path::new("/dev/zero")));
        assert!(said.contains("/dev/zero: cannot be read: it is no text"), "{said}");
    }
}

#[test]
fn what_kubernetes_accepts_is_a_remark() {
    let folder = tempfile::tempdir().unwrap();
    let set = |name: &str, owner: &str| {
        let owner =
            format!("{{apiVersion: apps/v1, kind: ReplicaSet, name: {owner}, uid: u{owner}, controller: true}}");
        let metadata = format!("{{name: {name}, namespace: shop, uid: u{name}, ownerReferences: [{owner}]}}");
        format!("---\napiVersion: apps/v1\nkind: ReplicaSet\nmetadata: {metadata}\nspec: {{replicas: 0}}\n")
    };
    let service = |port: &str| object("v1", "Service", "s", &format!("spec: {{selector: {{app: {port}}}}}"));
    let labels: String = (0..200_000).map(|n| format!("    k{n}: {}\n", "v".repeat(40))).collect();
    let labelled = format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: big\n  labels:\n{labels}");
    for (text, expected) in [
        (
            format!("{NODE}{}{}", set("x", "y"), set("y", "x")),
            "shop/ReplicaSet/y and its owner shop/ReplicaSet/x own each other",
        ),
        (format!("{NODE}{}", set("z", "z")), "shop/ReplicaSet/z and its owner shop/ReplicaSet/z own each other"),
        (
            format!("{NODE}---\n{}---\n{}", service("a"), service("b")),
            "shop/Service/s stands twice with different content",
        ),
        (format!("{NODE}---\n{NODE}"), "1 objects stand in the input more than once, with the same content"),
        (format!("{NODE}---\n{labelled}"), "NON-DISRUPTIVE"),
    ] {
        let file = write(folder.path(), "dump.yaml", text);
        let said = out(&check(&file), 0);
        assert!(said.contains(expected), "{said}");
    }
}
