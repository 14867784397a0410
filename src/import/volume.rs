//! Volumes of a pod.

use super::container::normalised;
use super::storage::ClaimSpec;
use super::wire::{Present, object};
use crate::cluster::{Name, Volume};

object! {
    /// A volume.
    struct RawVolume {
        name: Name,
        persistent_volume_claim: Option<ClaimSource>,
        ephemeral: Option<Ephemeral>,
        empty_dir: Option<Present>,
        host_path: Option<HostPath>,
        gce_persistent_disk: Option<GceDisk>,
        aws_elastic_block_store: Option<EbsDisk>,
        iscsi: Option<Iscsi>,
        rbd: Option<Rbd>,
        csi: Option<Csi>,
        image: Option<Image>,
        projected: Option<Present>,
    }

    /// `persistentVolumeClaim`.
    struct ClaimSource {
        claim_name: Name,
        read_only: bool,
    }

    /// `ephemeral`.
    struct Ephemeral {
        volume_claim_template: EphemeralTemplate,
    }

    /// `ephemeral.volumeClaimTemplate`.
    struct EphemeralTemplate {
        spec: ClaimSpec,
    }

    /// `hostPath`.
    struct HostPath {
        path: Name,
    }

    /// `gcePersistentDisk`.
    struct GceDisk {
        pd_name: Name,
        read_only: bool,
    }

    /// `awsElasticBlockStore`.
    struct EbsDisk {
        #[serde(rename = "volumeID")]
        volume_id: Name,
    }

    /// `iscsi`.
    struct Iscsi {
        iqn: Name,
        read_only: bool,
    }

    /// `rbd`.
    struct Rbd {
        monitors: Vec<Name>,
        pool: Name,
        image: Name,
        read_only: bool,
    }

    /// `csi`.
    struct Csi {
        driver: Name,
    }

    /// `image`.
    struct Image {
        reference: Name,
    }
}

/// The volumes of a pod in spec order. Left out is the token volume that the ServiceAccount admission plugin adds to every
/// pod, so that a pod looks like its template.
pub(super) fn volumes(raw: &[RawVolume]) -> Vec<Volume> {
    let added = |volume: &&RawVolume| volume.projected.is_some() && volume.name.starts_with("kube-api-access-");
    let mut volumes = Vec::new();
    for volume in raw.iter().filter(|volume| !added(volume)) {
        volume.read(&mut volumes);
    }
    volumes
}

impl RawVolume {
    fn read(&self, volumes: &mut Vec<Volume>) {
        let disk = |kind: &str, name: Name, read_only| {
            let disk = Name::new(&format!("{kind}/{name}"));
            Volume::InlineDisk { disk, read_only }
        };
        let volume = if let Some(claim) = &self.persistent_volume_claim {
            Volume::Claim { name: claim.claim_name, read_only: claim.read_only }
        } else if let Some(ephemeral) = &self.ephemeral {
            let spec = &ephemeral.volume_claim_template.spec;
            let class = spec.storage_class_name.unwrap_or_default();
            Volume::Ephemeral { name: self.name, class, bytes: spec.bytes() }
        } else if self.empty_dir.is_some() {
            Volume::EmptyDir
        } else if let Some(host) = &self.host_path {
            Volume::HostPath { path: host.path }
        } else if let Some(gce) = &self.gce_persistent_disk {
            disk("gce", gce.pd_name, gce.read_only)
        } else if let Some(ebs) = &self.aws_elastic_block_store {
            // Two pods never share an EBS disk, read-only or not.
            disk("ebs", ebs.volume_id, false)
        } else if let Some(iscsi) = &self.iscsi {
            disk("iscsi", iscsi.iqn, iscsi.read_only)
        } else if let Some(rbd) = &self.rbd {
            // Two RBD volumes are the same when pool and image are and any of their monitors is.
            let pool = if rbd.pool.is_empty() { "rbd" } else { rbd.pool.as_str() };
            let name = |monitor: &Name| Name::new(&format!("{pool}/{}@{monitor}", rbd.image));
            volumes.extend(rbd.monitors.iter().map(|monitor| disk("rbd", name(monitor), rbd.read_only)));
            return;
        } else if let Some(csi) = &self.csi {
            Volume::Csi { driver: csi.driver }
        } else if let Some(image) = &self.image {
            Volume::Image { image: normalised(image.reference) }
        } else {
            Volume::Other
        };
        volumes.push(volume);
    }
}
