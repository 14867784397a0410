//! The run's own ConfigMap: what any machine needs to continue, and what `cmsim status` shows.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};

use super::act::trouble;
use super::client::Connection;
use crate::cluster::RunRecord;
use crate::engine::Trouble;

/// Namespace of the run's objects.
pub(super) const NAMESPACE: &str = "kube-system";
/// Name of the ConfigMap.
const NAME: &str = "cmsim-run";
/// Key of the record in it.
const KEY: &str = "run.json";

/// The record with the object that it stands in.
pub struct Record {
    api: Api<ConfigMap>,
    object: Option<ConfigMap>,
    record: RunRecord,
}

impl Record {
    /// Reads the record of the last run; empty if there was none.
    ///
    /// # Errors
    ///
    /// What the API server refuses; a ConfigMap of that name that holds something else.
    pub async fn read(connection: &Connection) -> Result<Record, Trouble> {
        let api: Api<ConfigMap> = Api::namespaced(connection.client.clone(), NAMESPACE);
        let what = format!("reading configmap {NAMESPACE}/{NAME}");
        let object = api.get_opt(NAME).await.map_err(|error| trouble(&error, &what))?;
        let text = object.as_ref().and_then(|object| object.data.as_ref()?.get(KEY));
        let record = match text {
            Some(text) => serde_json::from_str(text).map_err(|error| {
                Trouble::Refused(format!(
                    "{what}: {KEY} is no record of a run ({error}); delete it if it is not needed"
                ))
            })?,
            None => RunRecord::default(),
        };
        Ok(Record { api, object, record })
    }

    /// The record.
    pub fn get(&self) -> &RunRecord {
        &self.record
    }

    /// Changes it and writes it; nothing is written where nothing changes.
    ///
    /// # Errors
    ///
    /// [`Trouble::Stale`] if somebody else wrote it: it has been read again then.
    pub async fn change(&mut self, change: impl FnOnce(&mut RunRecord)) -> Result<(), Trouble> {
        let mut record = self.record.clone();
        change(&mut record);
        if record == self.record && self.object.is_some() {
            return Ok(());
        }
        let what = format!("writing configmap {NAMESPACE}/{NAME}");
        let text = serde_json::to_string_pretty(&record).unwrap_or_default();
        let mut object = self.object.clone().unwrap_or_default();
        object.metadata.name = Some(NAME.to_owned());
        object.metadata.managed_fields = None;
        object.data.get_or_insert_default().insert(KEY.to_owned(), text);
        let parameters = PostParams::default();
        let written = match self.object {
            Some(_) => self.api.replace(NAME, &parameters, &object).await,
            None => self.api.create(&parameters, &object).await,
        };
        match written {
            Ok(object) => {
                (self.object, self.record) = (Some(object), record);
                Ok(())
            }
            Err(error) => {
                let result = trouble(&error, &what);
                if let (Trouble::Stale(_), Ok(Some(object))) = (&result, self.api.get_opt(NAME).await) {
                    if let Some(Ok(record)) =
                        object.data.as_ref().and_then(|data| data.get(KEY)).map(|text| serde_json::from_str(text))
                    {
                        self.record = record;
                    }
                    self.object = Some(object);
                }
                Err(result)
            }
        }
    }
}
