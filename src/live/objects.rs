//! All objects of a cluster, of every kind that the API server says it has, as far as the account may list them.

use std::collections::BTreeMap;

use anyhow::Context as _;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::ApiResource;
use kube::discovery::{Discovery, verbs};
use serde_json::Value;

use super::client::Connection;
use super::kinds::KINDS;
use super::store::{PAGE, reason};

/// What was listed of a cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listed {
    /// How many objects, by kind (`deployments.apps`).
    pub counts: BTreeMap<String, usize>,
    /// Kinds that could not be listed, and why.
    pub unread: BTreeMap<String, String>,
}

/// Hands every object to `take`, a kind after the other. Left out are Events and Leases, which are of the moment, metrics, which are
/// nowhere stored, and Secrets unless they are asked for. What the API server alone has use for (managedFields,
/// resourceVersion) is taken off.
///
/// # Errors
///
/// The kinds cannot be told, a kind that a run needs anyway cannot be listed, or `take` fails. Any other kind that cannot be
/// listed is named in the result.
pub async fn objects(
    connection: &Connection,
    secrets: bool,
    mut take: impl FnMut(&Value) -> anyhow::Result<()>,
) -> anyhow::Result<Listed> {
    let mut listed = Listed::default();
    for kind in kinds(connection, secrets, &mut listed).await? {
        let name = name(&kind);
        match list(connection, &kind, &mut take).await {
            Ok(count) => drop(listed.counts.insert(name, count)),
            Err(Failed::Listing(error)) if !is_needed(&kind) && matches!(error, kube::Error::Api(_)) => {
                listed.unread.insert(name, reason(&error));
            }
            Err(Failed::Listing(error)) => return Err(error).with_context(|| format!("listing {name}")),
            Err(Failed::Taking(error)) => return Err(error),
        }
    }
    Ok(listed)
}

/// Every kind that can be listed, in the order of their names; groups that say of none are noted.
async fn kinds(connection: &Connection, secrets: bool, listed: &mut Listed) -> anyhow::Result<Vec<ApiResource>> {
    let discovery = match Discovery::new(connection.client.clone()).run_aggregated().await {
        Ok(discovery) => discovery,
        // Kubernetes before 1.26 tells them group by group.
        Err(_) => Discovery::new(connection.client.clone()).run().await.context("asking for the kinds of objects")?,
    };
    let mut kinds = Vec::new();
    for group in discovery.groups() {
        let of_group = group.resources_by_stability();
        if of_group.is_empty() && !is_computed(group.name()) {
            listed.unread.insert(group.name().to_owned(), "who serves this group does not answer".to_owned());
        }
        let wanted =
            of_group.into_iter().filter(|(kind, can)| can.supports_operation(verbs::LIST) && is_wanted(kind, secrets));
        kinds.extend(wanted.map(|(kind, _)| kind));
    }
    kinds.sort_by_key(|kind| (kind.group.clone(), kind.plural.clone()));
    Ok(kinds)
}

fn is_wanted(kind: &ApiResource, secrets: bool) -> bool {
    match (kind.group.as_str(), kind.plural.as_str()) {
        ("" | "events.k8s.io", "events") | ("coordination.k8s.io", "leases") => false,
        ("", "secrets") => secrets,
        // Not stored, and not listed without parameters or not for long.
        ("", "componentstatuses") => false,
        (group, _) => !is_computed(group),
    }
}

fn is_computed(group: &str) -> bool {
    group == "metrics.k8s.io" || group.ends_with(".metrics.k8s.io")
}

/// A kind without which nothing is known of the cluster.
fn is_needed(kind: &ApiResource) -> bool {
    KINDS.iter().any(|one| !one.optional && (one.group, one.plural) == (kind.group.as_str(), kind.plural.as_str()))
}

fn name(kind: &ApiResource) -> String {
    if kind.group.is_empty() { kind.plural.clone() } else { format!("{}.{}", kind.plural, kind.group) }
}

enum Failed {
    Listing(kube::Error),
    Taking(anyhow::Error),
}

async fn list(
    connection: &Connection,
    kind: &ApiResource,
    take: &mut impl FnMut(&Value) -> anyhow::Result<()>,
) -> Result<usize, Failed> {
    let api: Api<DynamicObject> = Api::all_with(connection.client.clone(), kind);
    let mut page = ListParams::default().limit(PAGE);
    let mut count = 0;
    loop {
        let list = api.list(&page).await.map_err(Failed::Listing)?;
        for object in &list.items {
            take(&manifest(kind, object)).map_err(Failed::Taking)?;
        }
        count += list.items.len();
        match list.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(count),
        }
    }
}

/// An object as it can be given back to an API server.
fn manifest(kind: &ApiResource, object: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Value::Object(map) = &mut value {
        map.insert("apiVersion".to_owned(), kind.api_version.clone().into());
        map.insert("kind".to_owned(), kind.kind.clone().into());
        if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
            metadata.remove("managedFields");
            metadata.remove("resourceVersion");
        }
    }
    value
}
