//! Manifests of static pods: flags of components, and references to the API (V41).

use serde_json::Value;

use super::parse::joined;

/// A YAML or JSON text; `None` if it is none.
pub fn yaml(text: &str) -> Option<Value> {
    serde_saphyr::from_str(text).ok().filter(Value::is_object)
}

/// Components whose flags matter.
const COMPONENTS: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// Name and flags of the control-plane component in a manifest.
pub fn flags(text: &str) -> Option<(String, Vec<String>)> {
    let pod = yaml(text)?;
    let containers = pod.pointer("/spec/containers")?.as_array()?;
    containers.iter().find_map(|container| {
        let words = |field: &str| container.get(field).and_then(Value::as_array).into_iter().flatten();
        let mut words = words("command").chain(words("args")).filter_map(Value::as_str).map(str::to_owned);
        let program = words.next()?;
        let name = program.rsplit('/').next()?.to_owned();
        let rest: Vec<String> = words.collect();
        COMPONENTS.contains(&name.as_str()).then(|| (name, joined(&rest)))
    })
}

/// Fields that refer to objects of the API, anywhere in a pod's spec.
const REFERENCES: [&str; 9] = [
    "secretRef",
    "configMapRef",
    "secretKeyRef",
    "configMapKeyRef",
    "imagePullSecrets",
    "serviceAccountName",
    "serviceAccount",
    "resourceClaims",
    "nodePublishSecretRef",
];
/// Kinds of volumes that do.
const VOLUMES: [&str; 6] = ["configMap", "secret", "persistentVolumeClaim", "projected", "csi", "ephemeral"];

/// A static pod that refers to objects of the API.
pub fn refers_to_api(text: &str) -> bool {
    let Some(pod) = yaml(text) else { return false };
    let Some(spec) = pod.get("spec") else { return false };
    let volumes = spec.get("volumes").and_then(Value::as_array).into_iter().flatten();
    let mut kinds = volumes.filter_map(Value::as_object).flat_map(|volume| volume.keys());
    kinds.any(|kind| VOLUMES.contains(&kind.as_str())) || refers(spec)
}

fn refers(value: &Value) -> bool {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(map) => {
            map.iter().any(|(key, value)| (REFERENCES.contains(&key.as_str()) && !empty(value)) || refers(value))
        }
        Value::Array(list) => list.iter().any(refers),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_seen_wherever_they_stand() {
        for (spec, refer) in [
            ("volumes: [{name: a, configMap: {name: x}}]", true),
            ("volumes: [{name: a, hostPath: {path: /x}}, {name: b, projected: {}}]", true),
            ("volumes: [{name: secret, hostPath: {path: /x}}]", false),
            ("containers: [{env: [{name: A, valueFrom: {secretKeyRef: {name: x}}}]}]", true),
            ("containers: [{envFrom: [{configMapRef: {name: x}}]}]", true),
            ("containers: [{env: [{name: A, valueFrom: {fieldRef: {fieldPath: x}}}]}]", false),
            ("serviceAccountName: x", true),
            ("{serviceAccountName: '', imagePullSecrets: []}", false),
        ] {
            let spec = if spec.starts_with('{') { spec.to_owned() } else { format!("{{{spec}}}") };
            assert_eq!(refers_to_api(&format!("{{kind: Pod, spec: {spec}}}")), refer, "{spec}");
        }
    }
}
