//! The cluster's upgrade lock (M11): a Lease, renewed in the background for as long as it is held.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{Api, PostParams};
use tokio::task::AbortHandle;

use super::act::trouble;
use super::client::Connection;
use super::record::NAMESPACE;
use crate::cluster::{Lock, Name, Time};
use crate::engine::Trouble;

/// Name of the Lease.
const NAME: &str = "cmsim-upgrade";
/// How long the lock outlives its holder.
const LASTS: Duration = Duration::from_secs(30);
/// How often it is renewed.
const RENEW: Duration = Duration::from_secs(5);

/// Somebody who holds the lock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Holder {
    /// `user@host:process:boot`.
    pub identity: String,
    /// Since when.
    pub since: Time,
    /// When it ends unless he renews it.
    pub ends: Time,
    /// The holder has not renewed it in time.
    pub expired: bool,
}

/// What is known of the lock.
#[derive(Clone, Debug)]
enum Known {
    Unknown,
    Free(Option<Object>),
    Ours { object: Object, renewed: std::time::Instant },
    Other { holder: String, since: Time },
}

/// The lock, as this process sees it.
pub struct Lease {
    api: Api<Object>,
    identity: String,
    known: Arc<Mutex<Known>>,
    renewal: Option<AbortHandle>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(renewal) = &self.renewal {
            renewal.abort();
        }
    }
}

impl Lease {
    /// The lock of a cluster, not looked at yet. `identity`: who asks, `user@host:process:boot`.
    pub fn new(connection: &Connection, identity: String) -> Lease {
        let api = Api::namespaced(connection.client.clone(), NAMESPACE);
        Lease { api, identity, known: Arc::new(Mutex::new(Known::Unknown)), renewal: None }
    }

    /// Looks at it. `Some`: somebody else holds it.
    ///
    /// # Errors
    ///
    /// No answer, or a refusal.
    pub async fn look(&mut self) -> Result<Option<Holder>, Trouble> {
        let object = self.api.get_opt(NAME).await.map_err(|error| trouble(&error, &what("reading")))?;
        let holder = object.as_ref().and_then(holder);
        let known = match &holder {
            Some(other) => Known::Other { holder: other.identity.clone(), since: other.since },
            None => Known::Free(object),
        };
        *lock(&self.known) = known;
        Ok(holder)
    }

    /// The lock will be taken from its holder when the run begins: only where it is known that he is no more.
    ///
    /// # Errors
    ///
    /// No answer, or a refusal.
    pub async fn steal(&mut self) -> Result<(), Trouble> {
        let object = self.api.get_opt(NAME).await.map_err(|error| trouble(&error, &what("reading")))?;
        *lock(&self.known) = Known::Free(object);
        Ok(())
    }

    /// What is known of it.
    pub(super) fn state(&self) -> Lock {
        match &*lock(&self.known) {
            Known::Unknown => Lock::Unknown,
            Known::Free(_) => Lock::Free,
            Known::Ours { .. } => Lock::Ours,
            Known::Other { holder, since } => Lock::Other { holder: Name::new(holder), since: *since },
        }
    }

    /// Whether an action may be carried out: the lock was ours within its life.
    ///
    /// # Errors
    ///
    /// [`Trouble::LockLost`].
    pub(super) fn check(&self) -> Result<(), Trouble> {
        match &*lock(&self.known) {
            Known::Ours { renewed, .. } if renewed.elapsed() > LASTS => {
                let seconds = renewed.elapsed().as_secs();
                Err(Trouble::Unreachable(format!("the lock could not be renewed for {seconds} s")))
            }
            Known::Other { holder, .. } if self.renewal.is_some() => {
                Err(Trouble::LockLost(format!("{holder} holds it now")))
            }
            Known::Unknown | Known::Free(_) | Known::Ours { .. } | Known::Other { .. } => Ok(()),
        }
    }

    /// Takes it, and renews it from now on.
    ///
    /// # Errors
    ///
    /// [`Trouble::Stale`] where somebody else has it.
    pub async fn take(&mut self) -> Result<(), Trouble> {
        let before = match &*lock(&self.known) {
            Known::Free(object) => object.clone(),
            Known::Ours { .. } => return Ok(()),
            Known::Unknown | Known::Other { .. } => return Err(Trouble::Stale("the lock is not free".to_owned())),
        };
        let written = write(&self.api, before, Some(&self.identity)).await;
        match written {
            Ok(object) => {
                *lock(&self.known) = Known::Ours { object, renewed: std::time::Instant::now() };
                let (api, known, identity) = (self.api.clone(), Arc::clone(&self.known), self.identity.clone());
                self.renewal = Some(tokio::spawn(renew(api, known, identity)).abort_handle());
                Ok(())
            }
            Err(error) => {
                let result = trouble(&error, &what("taking"));
                self.look().await?;
                Err(result)
            }
        }
    }

    /// Gives it back, if it is held.
    ///
    /// # Errors
    ///
    /// No answer, or a refusal.
    pub async fn release(&mut self) -> Result<(), Trouble> {
        if let Some(renewal) = self.renewal.take() {
            renewal.abort();
        }
        let Known::Ours { object, .. } = lock(&self.known).clone() else { return Ok(()) };
        // A renewal may have been on its way: the object as it is now, if it is still ours.
        let now = self.api.get_opt(NAME).await.map_err(|error| trouble(&error, &what("reading")))?;
        let object = now.filter(|now| is_ours(now, &self.identity)).unwrap_or(object);
        let object = write(&self.api, Some(object), None).await.map_err(|error| trouble(&error, &what("releasing")))?;
        *lock(&self.known) = Known::Free(Some(object));
        Ok(())
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

fn what(doing: &str) -> String {
    format!("{doing} the upgrade lock (lease {NAMESPACE}/{NAME})")
}

fn is_ours(object: &Object, identity: &str) -> bool {
    object.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()) == Some(identity)
}

/// Who holds a Lease.
fn holder(object: &Object) -> Option<Holder> {
    let spec = object.spec.as_ref()?;
    let identity = spec.holder_identity.clone().filter(|holder| !holder.is_empty())?;
    let millis = |time: Option<&MicroTime>| time.map_or(0, |time| time.0.as_millisecond());
    let ends = millis(spec.renew_time.as_ref()) + i64::from(spec.lease_duration_seconds.unwrap_or(0)) * 1000;
    let expired = ends < jiff::Timestamp::now().as_millisecond();
    Some(Holder { identity, since: Time(millis(spec.acquire_time.as_ref())), ends: Time(ends), expired })
}

/// Writes the Lease for a holder, or for nobody; what it is made from must not have changed.
async fn write(api: &Api<Object>, before: Option<Object>, identity: Option<&str>) -> Result<Object, kube::Error> {
    let now = MicroTime(k8s_openapi::jiff::Timestamp::now());
    let exists = before.is_some();
    let mut object = before.unwrap_or_default();
    let held = object.spec.as_ref().and_then(|spec| spec.holder_identity.clone());
    let spec = object.spec.get_or_insert_with(LeaseSpec::default);
    if held.as_deref() != identity {
        spec.acquire_time = identity.map(|_| now.clone());
        spec.lease_transitions = Some(spec.lease_transitions.unwrap_or(0) + i32::from(identity.is_some()));
    }
    spec.holder_identity = identity.map(str::to_owned);
    spec.renew_time = Some(now);
    spec.lease_duration_seconds = Some(LASTS.as_secs() as i32);
    object.metadata.name = Some(NAME.to_owned());
    object.metadata.managed_fields = None;
    if exists {
        api.replace(NAME, &PostParams::default(), &object).await
    } else {
        api.create(&PostParams::default(), &object).await
    }
}

/// Renews the lock until it is somebody else's.
async fn renew(api: Api<Object>, known: Arc<Mutex<Known>>, identity: String) {
    loop {
        tokio::time::sleep(RENEW).await;
        let Known::Ours { object, .. } = lock(&known).clone() else { return };
        let started = std::time::Instant::now();
        match write(&api, Some(object), Some(&identity)).await {
            Ok(object) => *lock(&known) = Known::Ours { object, renewed: started },
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {
                // Somebody has written it: perhaps only a label.
                let Ok(found) = api.get_opt(NAME).await else { continue };
                let mut known = lock(&known);
                match found {
                    Some(object) if is_ours(&object, &identity) => {
                        if let Known::Ours { object: ours, .. } = &mut *known {
                            *ours = object;
                        }
                    }
                    found => {
                        let other = found.as_ref().and_then(holder);
                        *known = Known::Other {
                            holder: other.as_ref().map_or("nobody".to_owned(), |other| other.identity.clone()),
                            since: other.map_or(Time(0), |other| other.since),
                        };
                        return;
                    }
                }
            }
            // No answer: tried again; once the lock's life is over nothing is done any more.
            Err(_) => {}
        }
    }
}
