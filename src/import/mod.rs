//! To come.

use crate::cluster::Cluster;

/// Placeholder until the import lands.
pub fn apply(_cluster: &mut Cluster, _object: serde_json::Value) -> Result<(), String> {
    Err("not there yet".to_owned())
}
