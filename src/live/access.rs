//! Whether the account may do what a run needs: asked before anything is done.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, PostParams};

use super::act::trouble;
use super::client::Connection;
use super::kinds::KINDS;
use super::record::NAMESPACE;
use crate::engine::Trouble;

/// Verb, group, resource (with its subresource) and namespace (empty: everywhere) of every right that is needed.
fn needed(acting: bool) -> Vec<(&'static str, &'static str, &'static str, &'static str)> {
    let mut needed = Vec::new();
    for kind in KINDS.iter().filter(|kind| !kind.optional || acting) {
        needed.push(("list", kind.group, kind.plural, ""));
        if acting {
            needed.push(("watch", kind.group, kind.plural, ""));
        }
    }
    if acting {
        needed.extend([("get", "", "nodes", ""), ("patch", "", "nodes", ""), ("create", "", "pods/eviction", "")]);
        for (group, resource) in [("", "configmaps"), ("coordination.k8s.io", "leases")] {
            needed.extend(["get", "create", "update"].map(|verb| (verb, group, resource, NAMESPACE)));
        }
    }
    needed
}

/// What the account lacks: `verb resource` with its group and namespace, as `kubectl auth can-i` writes it. `acting`: for a run,
/// not only for a look.
///
/// # Errors
///
/// The question itself is refused or not answered.
pub async fn missing(connection: &Connection, acting: bool) -> Result<Vec<String>, Trouble> {
    let api: Api<SelfSubjectAccessReview> = Api::all(connection.client.clone());
    let mut missing = Vec::new();
    for (verb, group, resource, namespace) in needed(acting) {
        let (resource, subresource) = resource.split_once('/').map_or((resource, None), |(a, b)| (a, Some(b)));
        let attributes = ResourceAttributes {
            verb: Some(verb.to_owned()),
            group: Some(group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: subresource.map(str::to_owned),
            namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let review = api.create(&PostParams::default(), &review).await;
        let review = review.map_err(|error| trouble(&error, "asking what this account may do"))?;
        if !review.status.is_some_and(|status| status.allowed) {
            let group = if group.is_empty() { String::new() } else { format!(".{group}") };
            let part = subresource.map_or(String::new(), |part| format!("/{part}"));
            let place = if namespace.is_empty() { String::new() } else { format!(" -n {namespace}") };
            missing.push(format!("{verb} {resource}{group}{part}{place}"));
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn the_manifest_grants_what_is_asked_for_and_nothing_else() {
        let documents: Vec<Value> = serde_saphyr::from_multiple(include_str!("../../docs/rbac.yaml")).unwrap();
        let list = |rule: &Value, key: &str| -> Vec<String> {
            rule[key].as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
        };
        let mut granted = BTreeSet::new();
        for role in documents.iter().filter(|one| one["kind"] == "ClusterRole" || one["kind"] == "Role") {
            let namespace = role["metadata"]["namespace"].as_str().unwrap_or_default().to_owned();
            for rule in role["rules"].as_array().unwrap() {
                for (group, resource, verb) in list(rule, "apiGroups").iter().flat_map(|group| {
                    let (resources, verbs) = (list(rule, "resources"), list(rule, "verbs"));
                    let pairs = resources
                        .into_iter()
                        .flat_map(move |resource| verbs.clone().into_iter().map(move |verb| (resource.clone(), verb)));
                    pairs.map(|(resource, verb)| (group.clone(), resource, verb)).collect::<Vec<_>>()
                }) {
                    granted.insert((verb, group, resource, namespace.clone()));
                }
            }
        }
        let needed: BTreeSet<(String, String, String, String)> = needed(true)
            .into_iter()
            .map(|(verb, group, resource, namespace)| {
                (verb.to_owned(), group.to_owned(), resource.to_owned(), namespace.to_owned())
            })
            .collect();
        assert_eq!(granted, needed);
    }
}
