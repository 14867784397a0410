//! What is known of a live cluster: read once, or kept up to date by a watch of each kind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::StreamExt;
use kube::api::{Api, DynamicObject, ListParams};
use kube::runtime::watcher;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::client::Connection;
use super::journal::{self, Journal};
use super::kinds::{KINDS, Kind};
use crate::cluster::{Cluster, Name, Time, Version};
use crate::import;

/// How many objects an answer of the API server holds.
pub(super) const PAGE: u32 = 500;

/// How long after a failure a watch is tried again: ever longer while it goes on failing.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// How long all watches have to be whole after a disturbance until the journal goes on: an API server that goes away breaks them
/// all, but not at once, and each time all objects are written anew.
const QUIET: Duration = Duration::from_secs(3);

/// How often it is looked whether they are.
const LOOK: Duration = Duration::from_secs(1);

/// Reads everything once; `read` is told the kind and how many there are.
///
/// # Errors
///
/// What the API server refuses, or what it answers and is no sound object.
pub async fn read(connection: &Connection, now: Time, mut read: impl FnMut(&str, usize)) -> anyhow::Result<Cluster> {
    let mut objects = Vec::new();
    let mut kinds = Vec::new();
    for kind in &KINDS {
        let api: Api<DynamicObject> = Api::all_with(connection.client.clone(), &kind.resource());
        let mut page = ListParams::default().limit(PAGE);
        let mut found = 0;
        loop {
            let list = match api.list(&page).await {
                Ok(list) => list,
                Err(kube::Error::Api(status)) if kind.optional && matches!(status.code, 403 | 404) => break,
                Err(error) => return Err(error).with_context(|| format!("listing {}", kind.plural)),
            };
            found += list.items.len();
            objects.extend(list.items.iter().map(|object| plain(kind, object)));
            match list.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => {
                    kinds.push(kind.kind);
                    break;
                }
            }
        }
        read(kind.plural, found);
    }
    Ok(import::from_live(&objects, &kinds, connection.version, now)?)
}

/// An object as import reads it.
fn plain(kind: &Kind, object: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if let Value::Object(map) = &mut value {
        let version =
            if kind.group.is_empty() { kind.version.to_owned() } else { format!("{}/{}", kind.group, kind.version) };
        map.insert("apiVersion".to_owned(), version.into());
        map.insert("kind".to_owned(), kind.kind.into());
        if let Some(Value::Object(metadata)) = map.get_mut("metadata") {
            metadata.remove("managedFields");
        }
    }
    value
}

/// uid of each pod by namespace and name.
pub(super) type Uids = BTreeMap<(Name, Name), Name>;

/// Namespace and name.
type Key = (String, String);

type Objects = BTreeMap<Key, Arc<Value>>;

/// The objects of one kind.
#[derive(Default)]
struct Shelf {
    objects: Objects,
    /// What the watch has told so far; answers to requests, which may be ahead of it, left out.
    told: Objects,
    /// Those of a list that is coming in.
    fresh: Option<Objects>,
    complete: bool,
    /// Why nothing is heard; `None`: all is well.
    broken: Option<String>,
    /// The kind is not served, or not allowed, and the model can do without.
    refused: bool,
}

impl Shelf {
    /// The objects are known, and so are their changes.
    fn is_whole(&self) -> bool {
        self.refused || self.complete && self.broken.is_none() && self.fresh.is_none()
    }
}

/// The shelves of all kinds.
struct Shelves {
    all: Vec<Shelf>,
    /// They have been written into the journal.
    written: bool,
    /// When a watch broke, began anew or was whole again last, after that.
    disturbed: Option<Instant>,
}

/// All that is known, kept up to date in the background until it is dropped.
pub(super) struct Store {
    shelves: Arc<Mutex<Shelves>>,
    changed: Arc<Notify>,
    watches: Vec<AbortHandle>,
}

impl Drop for Store {
    fn drop(&mut self) {
        self.watches.iter().for_each(AbortHandle::abort);
    }
}

impl Store {
    /// Begins to watch every kind; what is told stands in the journal.
    pub(super) fn start(connection: &Connection, journal: Journal) -> Store {
        let all = KINDS.iter().map(|_| Shelf::default()).collect();
        let shelves = Arc::new(Mutex::new(Shelves { all, written: false, disturbed: None }));
        let changed = Arc::new(Notify::new());
        let mut watches: Vec<AbortHandle> = Vec::new();
        watches.extend(KINDS.iter().enumerate().map(|(number, kind)| {
            let api: Api<DynamicObject> = Api::all_with(connection.client.clone(), &kind.resource());
            let (shelves, changed) = (Arc::clone(&shelves), Arc::clone(&changed));
            let (journal, version) = (journal.clone(), connection.version);
            let watch = async move {
                let config = watcher::Config::default().page_size(PAGE).any_semantic();
                let mut pause = FIRST_PAUSE;
                loop {
                    let mut events = watcher(api.clone(), config.clone()).boxed();
                    // One that has failed begins anew: whether it goes on from where it was would show only at the next change,
                    // and of some kinds nothing ever changes.
                    while let Some(event) = events.next().await {
                        let failed = event.is_err();
                        if matches!(event, Ok(watcher::Event::InitDone)) {
                            pause = FIRST_PAUSE;
                        }
                        let mut shelves = lock(&shelves);
                        take(&mut shelves, number, event, &journal, Instant::now());
                        write_down(&mut shelves, &journal, version, Instant::now());
                        drop(shelves);
                        changed.notify_one();
                        if failed {
                            break;
                        }
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            };
            tokio::spawn(watch).abort_handle()
        }));
        let (all, version) = (Arc::clone(&shelves), connection.version);
        let look = async move {
            loop {
                tokio::time::sleep(LOOK).await;
                write_down(&mut lock(&all), &journal, version, Instant::now());
            }
        };
        watches.push(tokio::spawn(look).abort_handle());
        Store { shelves, changed, watches }
    }

    /// Waits for the next change.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The cluster with the uid of each pod by namespace and name, or why it is not known now.
    pub(super) fn cluster(&self, connection: &Connection, now: Time) -> Result<(Cluster, Uids), String> {
        let shelves = lock(&self.shelves);
        for (shelf, kind) in shelves.all.iter().zip(&KINDS) {
            if let Some(why) = &shelf.broken {
                return Err(format!("watching {}: {why}", kind.plural));
            }
            if !shelf.complete {
                return Err(format!("{} have not been read yet", kind.plural));
            }
        }
        let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.kind).collect();
        let objects = shelves.all.iter().flat_map(|shelf| shelf.objects.values().map(Arc::as_ref));
        let cluster =
            import::from_live(objects, &kinds, connection.version, now).map_err(|errors| errors.to_string())?;
        let pods = shelves.all.iter().zip(&KINDS).filter(|(_, kind)| kind.kind == "Pod");
        let uids = pods.flat_map(|(shelf, _)| &shelf.objects).filter_map(|((namespace, name), pod)| {
            let uid = pod.pointer("/metadata/uid")?.as_str()?;
            Some(((Name::new(namespace), Name::new(name)), Name::new(uid)))
        });
        Ok((cluster, uids.collect()))
    }

    /// A field of an object.
    pub(super) fn field(&self, kind: &str, namespace: &str, name: &str, pointer: &str) -> Option<Value> {
        let number = KINDS.iter().position(|one| one.kind == kind)?;
        let shelves = lock(&self.shelves);
        shelves.all[number].objects.get(&(namespace.to_owned(), name.to_owned()))?.pointer(pointer).cloned()
    }

    /// Puts an answer of the API server in, so that what was written is seen before the watch tells it. `None`: it is gone.
    pub(super) fn put(&self, kind: &str, key: (&str, &str), object: Option<&DynamicObject>) {
        let Some(number) = KINDS.iter().position(|one| one.kind == kind) else { return };
        let shelf = &mut lock(&self.shelves).all[number];
        let key = (key.0.to_owned(), key.1.to_owned());
        match object {
            Some(object) => insert(&mut shelf.objects, key, Arc::new(plain(&KINDS[number], object))),
            None => {
                shelf.objects.remove(&key);
            }
        }
    }
}

fn lock(shelves: &Mutex<Shelves>) -> MutexGuard<'_, Shelves> {
    shelves.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Once all objects are known, and have been for a while after a disturbance, they stand in the journal, and changes after them.
fn write_down(shelves: &mut Shelves, journal: &Journal, version: Option<Version>, now: Instant) {
    let quiet = shelves.disturbed.is_none_or(|then| now.duration_since(then) >= QUIET);
    if journal.follows() || !quiet || !shelves.all.iter().all(Shelf::is_whole) {
        return;
    }
    shelves.written = true;
    let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.kind).collect();
    let of_kind = |(shelf, kind): (&'_ Shelf, &Kind)| (kind.kind, shelf.told.values().cloned().collect::<Vec<_>>());
    let objects: Vec<(&str, Vec<Arc<Value>>)> = shelves.all.iter().zip(&KINDS).map(of_kind).collect();
    let objects = objects.iter().flat_map(|(kind, all)| all.iter().map(move |object| (*kind, object.as_ref())));
    journal.begin(version, &kinds, objects);
}

/// What the watch of the kind of that number tells.
fn take(
    shelves: &mut Shelves,
    number: usize,
    event: Result<watcher::Event<DynamicObject>, watcher::Error>,
    journal: &Journal,
    now: Instant,
) {
    let (shelf, kind) = (&mut shelves.all[number], &KINDS[number]);
    let disturbed = match &event {
        Err(error) => Some(reason(error)),
        Ok(watcher::Event::Init) => Some("it starts anew".to_owned()),
        // A gap by itself only if the kind was refused until now: what there is of it stands in no list yet.
        Ok(watcher::Event::InitDone) => Some("it is served now".to_owned()),
        Ok(_) => None,
    };
    let retries = shelf.refused && !matches!(event, Ok(watcher::Event::InitDone));
    if let Some(why) = disturbed.filter(|_| shelves.written && !retries) {
        shelves.disturbed = Some(now);
        journal.gap(&format!("the watch of {}: {why}", kind.plural));
    }
    match event {
        Err(error) if kind.optional && is_refusal(&error) => {
            // The model can do without.
            (shelf.complete, shelf.refused, shelf.broken) = (true, true, None);
        }
        Err(error) => shelf.broken = Some(reason(&error)),
        Ok(event) => {
            match event {
                watcher::Event::Init => shelf.fresh = Some(Objects::new()),
                watcher::Event::InitApply(object) => {
                    let key = key(&object);
                    shelf.fresh.get_or_insert_default().insert(key, Arc::new(plain(kind, &object)));
                    return;
                }
                watcher::Event::InitDone => {
                    shelf.objects = shelf.fresh.take().unwrap_or_default();
                    shelf.told = shelf.objects.clone();
                    (shelf.complete, shelf.refused) = (true, false);
                }
                watcher::Event::Apply(object) => {
                    let (key, object) = (key(&object), Arc::new(plain(kind, &object)));
                    let before = shelf.told.insert(key.clone(), Arc::clone(&object));
                    journal.changed(kind, before.as_deref(), Some(&object), journal::revision(&object));
                    insert(&mut shelf.objects, key, object);
                }
                watcher::Event::Delete(object) => {
                    let (key, last) = (key(&object), plain(kind, &object));
                    shelf.told.remove(&key);
                    journal.changed(kind, Some(&last), None, journal::revision(&last));
                    let known = shelf.objects.get(&key).and_then(|known| known.pointer("/metadata/uid")?.as_str());
                    if known == object.metadata.uid.as_deref() {
                        shelf.objects.remove(&key);
                    }
                }
            }
            if shelf.fresh.is_none() {
                shelf.broken = None;
            }
        }
    }
}

/// The API server does not serve the kind, or not to us.
fn is_refusal(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => {
            matches!(error, kube::Error::Api(status) if matches!(status.code, 403 | 404))
        }
        watcher::Error::WatchError(status) => matches!(status.code, 403 | 404),
        watcher::Error::NoResourceVersion => false,
    }
}

/// The text of an error and of all that it came from.
pub(super) fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let more = next.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = next.source();
    }
    text
}

fn key(object: &DynamicObject) -> Key {
    let metadata = &object.metadata;
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

/// Puts an object in, unless what is known of it is newer: answers and watches overtake each other.
fn insert(objects: &mut Objects, key: Key, object: Arc<Value>) {
    if objects.get(&key).is_none_or(|known| journal::revision(known) <= journal::revision(&object)) {
        objects.insert(key, object);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::journal::tests::Page;
    use super::*;

    const POD: usize = 2;

    fn pod(revision: u64, status: &Value) -> DynamicObject {
        let pod = json!({
            "metadata": {"name": "a", "namespace": "shop", "uid": "u", "resourceVersion": revision.to_string()},
            "spec": {"nodeName": "n"}, "status": status,
        });
        serde_json::from_value(pod).unwrap()
    }

    /// A store whose kinds have all been read, and its journal.
    struct Told {
        store: Store,
        journal: Journal,
        page: Page,
        start: Instant,
    }

    impl Told {
        fn new() -> Told {
            let page = Page::default();
            let all = KINDS.iter().map(|_| Shelf { complete: true, ..Shelf::default() }).collect();
            let shelves = Shelves { all, written: false, disturbed: None };
            let store = Store { shelves: Arc::new(Mutex::new(shelves)), changed: Arc::default(), watches: Vec::new() };
            let told = Told { store, journal: Journal::new(page.clone(), false), page, start: Instant::now() };
            told.relist(&pod(5, &json!({"phase": "Pending"})));
            told
        }

        fn tell(&self, event: watcher::Event<DynamicObject>) {
            self.hear(0, POD, Ok(event));
        }

        /// A watch tells something so many seconds after the start.
        fn hear(&self, at: u64, kind: usize, event: Result<watcher::Event<DynamicObject>, watcher::Error>) {
            let now = self.start + Duration::from_secs(at);
            take(&mut lock(&self.store.shelves), kind, event, &self.journal, now);
            self.look(at);
        }

        fn look(&self, at: u64) {
            let now = self.start + Duration::from_secs(at);
            write_down(&mut lock(&self.store.shelves), &self.journal, None, now);
        }

        fn relist(&self, pod: &DynamicObject) {
            self.tell(watcher::Event::Init);
            self.tell(watcher::Event::InitApply(pod.clone()));
            self.tell(watcher::Event::InitDone);
        }
    }

    #[test]
    fn what_was_seen_first_in_an_answer_is_told_when_its_turn_comes() {
        let told = Told::new();
        let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        told.store.put("Pod", ("shop", "a"), Some(&pod(7, &ready)));
        told.tell(watcher::Event::Apply(pod(6, &json!({"phase": "Running"}))));
        told.tell(watcher::Event::Apply(pod(7, &ready)));
        told.tell(watcher::Event::Delete(pod(8, &ready)));
        assert_eq!(told.page.events(), ["start", "object", "begin", "pod.running", "pod.ready", "pod.gone"]);
        let revisions: Vec<u64> = told.page.lines().iter().skip(3).map(|line| line["rv"].as_u64().unwrap()).collect();
        assert_eq!(revisions, [6, 7, 8]);
        assert_eq!(told.store.field("Pod", "shop", "a", "/status/phase"), None);
    }

    /// The API server went away.
    fn broken() -> Result<watcher::Event<DynamicObject>, watcher::Error> {
        refused(503)
    }

    fn refused(code: u16) -> Result<watcher::Event<DynamicObject>, watcher::Error> {
        let status = kube::core::Status { code, message: "no".to_owned(), ..kube::core::Status::default() };
        Err(watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status))))
    }

    fn node(revision: u64) -> DynamicObject {
        let revision = revision.to_string();
        let node = json!({"metadata": {"name": "n", "uid": "n", "resourceVersion": revision}, "spec": {"unschedulable": true}});
        serde_json::from_value(node).unwrap()
    }

    #[test]
    fn a_watch_that_begins_anew_is_a_gap_and_a_new_start() {
        let told = Told::new();
        told.hear(10, POD, Ok(watcher::Event::Init));
        // Another kind goes on meanwhile: it is told by the objects of the next start.
        told.hear(10, 0, Ok(watcher::Event::Apply(node(9))));
        assert_eq!(told.page.events(), ["start", "object", "begin", "gap"]);
        told.hear(20, POD, Ok(watcher::Event::InitApply(pod(10, &json!({"phase": "Running"})))));
        told.hear(20, POD, Ok(watcher::Event::InitDone));
        assert_eq!(told.page.events().len(), 4, "a list that takes long is no quiet");
        told.look(23);
        assert_eq!(told.page.events()[4..], ["start", "object", "object", "begin"]);
    }

    #[test]
    fn watches_that_break_one_after_another_are_one_gap_and_one_start() {
        let told = Told::new();
        let all = 0..KINDS.len();
        for kind in all.clone() {
            told.hear(10, kind, broken());
        }
        told.hear(11, POD, Ok(watcher::Event::Init));
        told.hear(11, POD, broken());
        assert!(told.store.shelves.lock().unwrap().all[POD].broken.is_some());
        // Each comes back by itself, and one breaks again when all others are whole.
        for (kind, at) in all.clone().zip(20..) {
            told.hear(at, kind, Ok(watcher::Event::Init));
            told.hear(at, kind, Ok(watcher::Event::InitDone));
        }
        let last = 20 + KINDS.len() as u64 - 1;
        told.hear(last + 2, POD, broken());
        told.look(last + 4);
        told.hear(last + 4, POD, Ok(watcher::Event::Init));
        told.hear(last + 4, POD, Ok(watcher::Event::InitApply(pod(30, &json!({"phase": "Running"})))));
        told.hear(last + 4, POD, Ok(watcher::Event::InitDone));
        told.hear(last + 6, 0, Ok(watcher::Event::Apply(node(31))));
        told.look(last + 6);
        assert_eq!(told.page.events(), ["start", "object", "begin", "gap"], "not quiet yet");
        told.look(last + 7);
        assert_eq!(
            told.page.events()[4..],
            ["start", "object", "object", "begin"],
            "nobody has to tell a change for it"
        );
        told.look(last + 9);
        told.hear(last + 9, POD, Ok(watcher::Event::Delete(pod(32, &json!({"phase": "Running"})))));
        assert_eq!(told.page.events()[8..], ["pod.gone"]);
    }

    #[test]
    fn a_kind_that_may_be_missing_disturbs_nothing_while_it_is() {
        let told = Told::new();
        let optional = KINDS.iter().position(|kind| kind.optional).unwrap();
        told.hear(1, optional, refused(404));
        told.look(10);
        assert_eq!(told.page.events()[3..], ["gap", "start", "object", "begin"], "it was there until now");
        for at in 11..20 {
            told.hear(at, optional, Ok(watcher::Event::Init));
            told.hear(at, optional, refused(404));
        }
        told.hear(20, POD, Ok(watcher::Event::Delete(pod(32, &json!({"phase": "Running"})))));
        assert_eq!(told.page.events()[7..], ["pod.gone"]);
        told.hear(21, optional, Ok(watcher::Event::Init));
        told.hear(21, optional, Ok(watcher::Event::InitDone));
        told.look(30);
        assert_eq!(told.page.events()[8..], ["gap", "start", "begin"]);
        // What is not refused but does not answer is missing as any other.
        told.hear(31, optional, broken());
        told.look(40);
        assert_eq!(told.page.events()[11..], ["gap"]);
    }
}
