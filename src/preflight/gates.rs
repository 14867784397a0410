//! Feature gates that a minor version no longer knows or no longer lets anybody set (VERSIONS.md V80, V81).
//!
//! Compared from the sources: the versioned specs of 1.32.3, 1.33.3, 1.34.3, 1.35.3, 1.36.3 and 1.37.2, and the code of 1.30.3
//! and 1.31.3. All components know all gates, so the tables are not by component; kubeadm and etcd have gates of their own.

/// The newest minor that the tables speak of.
pub(super) const NEWEST: u16 = 37;

/// First minor that does not know the gates: setting one of them, even to its old default, ends the component at its start
/// ("unrecognized feature gate").
const REMOVED: &[(u16, &str)] = &[
    (
        31,
        "APIPriorityAndFairness CSIMigrationRBD CSINodeExpandSecret ConsistentHTTPGetHandlers \
         CustomResourceValidationExpressions DefaultHostNetworkHostPortsInPodTemplates InTreePluginAWSUnregister \
         InTreePluginAzureDiskUnregister InTreePluginAzureFileUnregister InTreePluginGCEUnregister \
         InTreePluginOpenStackUnregister InTreePluginRBDUnregister InTreePluginvSphereUnregister JobReadyPods \
         ReadWriteOncePod ServiceNodePortStaticSubrange SkipReadOnlyValidationGCE",
    ),
    (
        32,
        "CloudDualStackNodeIPs DRAControlPlaneController HPAContainerMetrics KMSv2 KMSv2KDF \
         LegacyServiceAccountTokenCleanUp MinDomainsInPodTopologySpread NewVolumeManagerReconstruction \
         NodeOutOfServiceVolumeDetach PodHostIPs ServerSideApply ServerSideFieldValidation StableLoadBalancerNodeSet \
         ValidatingAdmissionPolicy ZeroLimitedNominalConcurrencyShares",
    ),
    (
        33,
        "APIListChunking AdmissionWebhookMatchConditions AggregatedDiscoveryEndpoint AppArmor AppArmorFields \
         CPUManager DisableCloudProviders DisableKubeletCloudCredentialProviders EfficientWatchResumption \
         JobPodFailurePolicy KubeProxyDrainingTerminatingNodes PDBUnhealthyPodEvictionPolicy \
         PersistentVolumeLastPhaseTransitionTime RemainingItemCount VolumeCapacityPriority WatchBookmark",
    ),
    (
        34,
        "DevicePluginCDIDevices ElasticIndexedJob LegacySidecarContainers PodDisruptionConditions \
         StatefulSetStartOrdinal",
    ),
    (
        35,
        "AllowServiceLBStatusOnNonLB ComponentSLIs CronJobsScheduledAnnotation LoadBalancerIPMode PodIndexLabel \
         ProbeHostPodSecurityStandards SizeMemoryBackedVolumes StatefulSetAutoDeletePVC StrictCostEnforcementForVAP \
         StrictCostEnforcementForWebhooks UserNamespacesPodSecurityStandards",
    ),
    (
        36,
        "CSIMigrationPortworx HonorPVReclaimPolicy InPlacePodVerticalScalingAllocatedStatus \
         InTreePluginPortworxUnregister MemoryManager ServiceTrafficDistribution StructuredAuthorizationConfiguration \
         TopologyAwareHints WatchFromStorageWithoutResourceVersion",
    ),
    (
        37,
        "APIServerTracing AnonymousAuthConfigurableEndpoints AnyVolumeDataSource AuthorizeNodeWithSelectors \
         AuthorizeWithSelectors BtreeWatchCache ConsistentListFromCache GangScheduling JobBackoffLimitPerIndex \
         JobPodReplacementPolicy JobSuccessPolicy LogarithmicScaleDown OrderedNamespaceDeletion \
         PodLifecycleSleepAction PodLifecycleSleepActionAllowZero PreventStaticPodAPIReferences \
         RelaxedDNSSearchValidation ResilientWatchCacheInitialization RetryGenerateName SchedulerQueueingHints \
         SidecarContainers StreamingCollectionEncodingToJSON StreamingCollectionEncodingToProtobuf \
         StructuredAuthenticationConfiguration WorkloadAwarePreemption",
    ),
];

/// First minor that has the gates locked to true: `false` ends the component at its start. Those of 1.30 may be older.
const LOCKED_ON: &[(u16, &str)] = &[
    (
        30,
        "APIListChunking APIPriorityAndFairness AdmissionWebhookMatchConditions AggregatedDiscoveryEndpoint \
         CPUManager CSINodeExpandSecret CloudDualStackNodeIPs ConsistentHTTPGetHandlers \
         CustomResourceValidationExpressions EfficientWatchResumption HPAContainerMetrics JobReadyPods KMSv2 KMSv2KDF \
         LegacyServiceAccountTokenCleanUp MinDomainsInPodTopologySpread NewVolumeManagerReconstruction \
         NodeOutOfServiceVolumeDetach PodHostIPs PodSchedulingReadiness ReadWriteOncePod RemainingItemCount \
         ServerSideApply ServerSideFieldValidation ServiceNodePortStaticSubrange StableLoadBalancerNodeSet \
         ValidatingAdmissionPolicy WatchBookmark ZeroLimitedNominalConcurrencyShares",
    ),
    (
        31,
        "AppArmor AppArmorFields DevicePluginCDIDevices DisableCloudProviders DisableKubeletCloudCredentialProviders \
         ElasticIndexedJob JobPodFailurePolicy KubeProxyDrainingTerminatingNodes LogarithmicScaleDown \
         PDBUnhealthyPodEvictionPolicy PersistentVolumeLastPhaseTransitionTime PodDisruptionConditions \
         StatefulSetStartOrdinal",
    ),
    (
        32,
        "ComponentSLIs CronJobsScheduledAnnotation CustomResourceFieldSelectors LoadBalancerIPMode MemoryManager \
         PodIndexLabel RetryGenerateName ServiceAccountTokenJTI ServiceAccountTokenNodeBindingValidation \
         ServiceAccountTokenPodNodeInfo SizeMemoryBackedVolumes StatefulSetAutoDeletePVC StrictCostEnforcementForVAP \
         StrictCostEnforcementForWebhooks StructuredAuthorizationConfiguration",
    ),
    (
        33,
        "AnyVolumeDataSource BtreeWatchCache CPUManagerPolicyOptions CRDValidationRatcheting CSIMigrationPortworx \
         HonorPVReclaimPolicy JobBackoffLimitPerIndex JobSuccessPolicy MatchLabelKeysInPodAffinity NFTablesProxyMode \
         NodeInclusionPolicyInPodTopologySpread RecursiveReadOnlyMounts ServiceAccountTokenNodeBinding \
         ServiceTrafficDistribution SidecarContainers TopologyAwareHints",
    ),
    (
        34,
        "APIServerTracing AnonymousAuthConfigurableEndpoints AuthorizeNodeWithSelectors AuthorizeWithSelectors \
         ConsistentListFromCache JobPodReplacementPolicy KubeletCgroupDriverFromCRI KubeletTracing \
         MultiCIDRServiceAllocator NodeSwap OrderedNamespaceDeletion PodLifecycleSleepAction \
         PodLifecycleSleepActionAllowZero ProbeHostPodSecurityStandards RecoverVolumeExpansionFailure \
         RelaxedDNSSearchValidation RelaxedEnvironmentVariableValidation ResilientWatchCacheInitialization \
         SchedulerQueueingHints SeparateTaintEvictionController StreamingCollectionEncodingToJSON \
         StreamingCollectionEncodingToProtobuf StructuredAuthenticationConfiguration WinDSR WinOverlay",
    ),
    (
        35,
        "AggregatedDiscoveryRemoveBetaType DisableAllocatorDualWrite DynamicResourceAllocation ExecProbeTimeout \
         ImageMaximumGCAge InPlacePodVerticalScaling JobManagedBy PodObservedGenerationTracking \
         PreferSameTrafficDistribution SupplementalGroupsPolicy SystemdWatchdog",
    ),
    (
        36,
        "CSIServiceAccountTokenSecrets DRAAdminAccess DeclarativeValidation DisableNodeKubeProxyVersion \
         ExternalServiceAccountTokenSigner ImageVolume KubeletFineGrainedAuthz KubeletPSI \
         KubeletPodResourcesDynamicResources KubeletPodResourcesGet MutableCSINodeAllocatableCount NodeLogQuery \
         ProcMountType SELinuxChangePolicy SELinuxMountReadWriteOncePod TopologyManagerPolicyOptions \
         UserNamespacesSupport VolumeAttributesClass",
    ),
    (
        37,
        "DRAExtendedResource DRAPrioritizedList DRAResourceClaimDeviceStatus DisableCPUQuotaWithExclusiveCPUs \
         HPAConfigurableTolerance HostnameOverride InPlacePodVerticalScalingInitContainers NodeDeclaredFeatures \
         PLEGOnDemandRelist PodReadyToStartContainersCondition RelaxedServiceNameValidation \
         WatchCacheInitializationPostStartHook",
    ),
];

/// First minor that has the gates locked to false.
const LOCKED_OFF: &[(u16, &str)] = &[
    (32, "AllowServiceLBStatusOnNonLB"),
    (33, "WatchFromStorageWithoutResourceVersion"),
    (35, "AllowOverwriteTerminationGracePeriodSeconds"),
    (36, "GitRepoVolumeDriver SeparateCacheWatchRPC"),
    (37, "DeclarativeValidationTakeover"),
];

/// Why a component does not start with a gate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// It does not know the gate since this minor.
    Removed(u16),
    /// The gate is locked to the other value since this minor.
    Locked(u16),
}

/// What stops a component that goes from one minor (`None`: not known) to another with this gate set to this value.
pub(super) fn trouble(gate: &str, value: bool, from: Option<u16>, to: u16) -> Option<Trouble> {
    let since = |table: &'static [(u16, &'static str)]| {
        let mut minors = table.iter().filter(|(_, gates)| gates.split_whitespace().any(|known| known == gate));
        let minor = minors.next().map(|(minor, _)| *minor)?;
        (from.is_none_or(|from| from < minor) && minor <= to).then_some(minor)
    };
    let locked = since(if value { LOCKED_OFF } else { LOCKED_ON });
    since(REMOVED).map(Trouble::Removed).or(locked.map(Trouble::Locked))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_stop_components_from_the_minor_on_that_removes_or_locks_them() {
        let trouble = |gate, value, from, to| trouble(gate, value, Some(from), to);
        assert_eq!(trouble("SidecarContainers", true, 36, 37), Some(Trouble::Removed(37)));
        assert_eq!(trouble("SidecarContainers", true, 35, 36), None, "locked on, and set so");
        assert_eq!(trouble("SidecarContainers", false, 32, 36), Some(Trouble::Locked(33)));
        assert_eq!(trouble("NodeDeclaredFeatures", false, 36, 37), Some(Trouble::Locked(37)));
        assert_eq!(trouble("DeclarativeValidationTakeover", true, 36, 37), Some(Trouble::Locked(37)));
        assert_eq!(trouble("MemoryQoS", false, 36, 37), None, "may still be switched off");
        assert_eq!(trouble("PodDisruptionConditions", true, 36, 37), None, "nothing of this upgrade: gone since 1.34");
        assert_eq!(super::trouble("PodDisruptionConditions", true, None, 37), Some(Trouble::Removed(34)));
    }

    #[test]
    fn no_gate_stands_twice_in_a_table() {
        for table in [REMOVED, LOCKED_ON, LOCKED_OFF] {
            let mut all: Vec<&str> = table.iter().flat_map(|(_, gates)| gates.split_whitespace()).collect();
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count);
            assert!(table.is_sorted_by_key(|(minor, _)| *minor) && table.iter().all(|(minor, _)| *minor <= NEWEST));
        }
    }
}
