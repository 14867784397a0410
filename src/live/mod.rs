//! Real clusters: the only room that uses kube and russh.

mod access;
mod act;
mod certificates;
mod client;
mod command;
pub mod facts;
mod haproxy;
mod hook;
mod journal;
mod kinds;
mod lock;
mod objects;
mod operator;
mod record;
mod rehearse;
mod routing;
pub mod ssh;
mod store;

pub use access::{Rights, missing};
pub use act::{HostTask, HostWork, JobState, Live, Role, Seen, Task};
pub use certificates::{Pending, pending};
pub use client::{Connection, connect};
pub use command::Commands;
pub use hook::{Url, Visit};
pub use journal::Journal;
pub use lock::{Holder, Lease};
pub use objects::{Listed, objects};
pub use operator::{Operator, Reply};
pub use record::Record;
pub use rehearse::{rehearse_cordon, rehearse_eviction};
pub use routing::{Around, Hook, Routing};
pub use store::read;
