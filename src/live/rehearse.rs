//! What the API server would answer now, without anything being changed (`dryRun=All`).

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::json;

use super::act::trouble;
use super::client::{self, Connection};
use super::kinds::KINDS;
use crate::engine::Trouble;

/// Whether a node may be cordoned.
///
/// # Errors
///
/// What the API server says against it.
pub async fn rehearse_cordon(connection: &Connection, node: &str) -> Result<(), Trouble> {
    let api: Api<DynamicObject> = Api::all_with(connection.client.clone(), &KINDS[0].resource());
    let parameters = PatchParams { dry_run: true, ..PatchParams::default() };
    let patch = json!({"spec": {"unschedulable": true}});
    let answer = api.patch(node, &parameters, &Patch::Merge(&patch)).await;
    answer.map(drop).map_err(|error| trouble(&error, &format!("patching node {node}")))
}

/// What the eviction API answers: its code, and its text where it is no success. Each pod is asked for as if it were the only one.
///
/// # Errors
///
/// No answer.
pub async fn rehearse_eviction(
    connection: &Connection,
    namespace: &str,
    name: &str,
    grace: Option<u32>,
) -> Result<(u16, String), Trouble> {
    // The request and the options in its body have to agree (registry/core/pod/storage/eviction.go, propagateDryRun).
    let mut options = json!({"dryRun": ["All"]});
    if let Some(seconds) = grace {
        options["gracePeriodSeconds"] = json!(seconds);
    }
    let body = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": name, "namespace": namespace}, "deleteOptions": options,
    });
    let path = format!("/api/v1/namespaces/{namespace}/pods/{name}/eviction?dryRun=All");
    let answer = client::post(connection, &path, &body).await;
    let answer = answer.map_err(|error| Trouble::Unreachable(format!("evicting {namespace}/{name}: {error}")))?;
    Ok((answer.code, answer.message))
}
