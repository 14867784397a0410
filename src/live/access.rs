//! Whether the account may do what a run needs: asked before anything is done.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use kube::api::{Api, PostParams};

use super::act::trouble;
use super::certificates::SIGNER;
use super::client::Connection;
use super::kinds::KINDS;
use super::record::NAMESPACE;
use crate::engine::Trouble;

/// What rights are for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rights {
    /// A look at the cluster.
    Look,
    /// A look at the run that goes on in it, too.
    Status,
    /// A run.
    Run {
        /// With requests for serving certificates being approved.
        certificates: bool,
    },
}

/// A right: verb, group, resource (with its subresource), namespace (empty: everywhere) and name (empty: any).
type Right = (&'static str, &'static str, &'static str, &'static str, &'static str);

/// Every right that is needed.
fn needed(rights: Rights) -> Vec<Right> {
    let acting = matches!(rights, Rights::Run { .. });
    let mut needed = Vec::new();
    for kind in KINDS.iter().filter(|kind| !kind.optional || acting) {
        needed.push(("list", kind.group, kind.plural, "", ""));
        if acting {
            needed.push(("watch", kind.group, kind.plural, "", ""));
        }
    }
    if acting {
        needed.extend([
            ("get", "", "nodes", "", ""),
            ("patch", "", "nodes", "", ""),
            ("create", "", "pods/eviction", "", ""),
        ]);
    }
    let verbs: &[&str] = match rights {
        Rights::Look => &[],
        Rights::Status => &["get"],
        Rights::Run { .. } => &["get", "create", "update"],
    };
    for (group, resource) in [("", "configmaps"), ("coordination.k8s.io", "leases")] {
        needed.extend(verbs.iter().map(|verb| (*verb, group, resource, NAMESPACE, "")));
    }
    if rights == (Rights::Run { certificates: true }) {
        let group = "certificates.k8s.io";
        needed.extend([
            ("list", group, "certificatesigningrequests", "", ""),
            ("patch", group, "certificatesigningrequests/approval", "", ""),
            ("approve", group, "signers", "", SIGNER),
        ]);
    }
    needed
}

/// What the account lacks: `verb resource` with its group, name and namespace, as `kubectl auth can-i` writes it.
///
/// # Errors
///
/// The question itself is refused or not answered.
pub async fn missing(connection: &Connection, rights: Rights) -> Result<Vec<String>, Trouble> {
    let api: Api<SelfSubjectAccessReview> = Api::all(connection.client.clone());
    let mut missing = Vec::new();
    for (verb, group, resource, namespace, name) in needed(rights) {
        let (resource, subresource) = resource.split_once('/').map_or((resource, None), |(a, b)| (a, Some(b)));
        let attributes = ResourceAttributes {
            verb: Some(verb.to_owned()),
            group: Some(group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: subresource.map(str::to_owned),
            namespace: Some(namespace.to_owned()).filter(|namespace| !namespace.is_empty()),
            name: Some(name.to_owned()).filter(|name| !name.is_empty()),
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
            let name = if name.is_empty() { String::new() } else { format!("/{name}") };
            missing.push(format!("{verb} {resource}{group}{part}{name}{place}"));
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
                    let names = if rule["resourceNames"].is_array() {
                        list(rule, "resourceNames")
                    } else {
                        vec![String::new()]
                    };
                    let place = (role["metadata"]["name"].as_str().unwrap_or_default().to_owned(), namespace.clone());
                    granted.extend(
                        names
                            .into_iter()
                            .map(|name| (place.clone(), [&verb, &group, &resource, &name].map(Clone::clone))),
                    );
                }
            }
        }
        // What only some runs need is granted by a role of its own.
        let run = needed(Rights::Run { certificates: false });
        let needed: BTreeSet<_> = needed(Rights::Run { certificates: true })
            .into_iter()
            .map(|right| {
                let (verb, group, resource, namespace, name) = right;
                let role = if run.contains(&right) { "cmsim" } else { "cmsim-serving-certificates" };
                ((role.to_owned(), namespace.to_owned()), [verb, group, resource, name].map(str::to_owned))
            })
            .collect();
        assert_eq!(granted, needed);
        assert!(super::needed(Rights::Status).iter().all(|right| run.contains(right)));
    }
}
