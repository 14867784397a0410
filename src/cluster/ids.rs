//! Typed positions in the tables of a [`Cluster`](super::Cluster). They mean nothing outside the cluster they came from and
//! its clones, and are never reused, so that a [`PodId`] serves as the pod's uid.

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        pub struct $name(pub u32);

        impl $name {
            /// The position in the table.
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

id!(
    /// A node.
    NodeId
);
id!(
    /// A pod object: a pod that comes back under the same name has another id.
    PodId
);
id!(
    /// What all pods of one template share.
    SpecId
);
id!(
    /// A workload: anything that owns pods.
    WorkloadId
);
id!(
    /// A PodDisruptionBudget.
    BudgetId
);
id!(
    /// A Service.
    ServiceId
);
id!(
    /// A PersistentVolumeClaim.
    ClaimId
);
id!(
    /// A PersistentVolume.
    VolumeId
);
