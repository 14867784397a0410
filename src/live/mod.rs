//! Real clusters: the only room that uses kube and russh.

mod access;
mod act;
mod client;
mod command;
pub mod facts;
mod kinds;
mod lock;
mod objects;
mod record;
mod rehearse;
mod routing;
pub mod ssh;
mod store;

pub use access::missing;
pub use act::{HostTask, HostWork, JobState, Live, Role, Task};
pub use client::{Connection, connect};
pub use command::Commands;
pub use lock::{Holder, Lease};
pub use objects::{Listed, objects};
pub use record::Record;
pub use rehearse::{rehearse_cordon, rehearse_eviction};
pub use routing::{Hook, Routing};
pub use store::read;
