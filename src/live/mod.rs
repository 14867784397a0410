//! Real clusters: the only room that uses kube and russh.

mod access;
mod act;
mod client;
mod command;
pub mod facts;
mod journal;
mod kinds;
mod lock;
mod record;
mod routing;
pub mod ssh;
mod store;

pub use access::missing;
pub use act::{HostTask, HostWork, JobState, Live, Role, Task};
pub use client::{Connection, connect};
pub use command::Commands;
pub use journal::Journal;
pub use lock::{Holder, Lease};
pub use record::Record;
pub use routing::{Hook, Routing};
pub use store::read;
