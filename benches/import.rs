//! Import of a dump as `kubectl get ... -A -o yaml` prints it, from a file, with everything a real pod
//! carries: annotations, probes, environment, volumes, tolerations, conditions, container statuses.

use std::fmt::Write as _;
use std::io::Write as _;

use cmsim::import;
use divan::counter::BytesCount;

fn main() {
    divan::main();
}

/// Nodes, Deployments with ReplicaSets and pods, as one `List`; about 5 kB a pod.
fn dump(nodes: usize, pods: usize) -> String {
    let mut text = String::from("apiVersion: v1\nitems:\n");
    for node in 0..nodes {
        let _ = write!(text, "{}", NODE.replace("NODE", &format!("node-{node:04}")));
    }
    for app in 0..pods.div_ceil(20) {
        let _ = write!(text, "{}", APP.replace("APP", &format!("app-{app}")));
    }
    for pod in 0..pods {
        let (app, node) = (format!("app-{}", pod / 20), format!("node-{:04}", pod % nodes));
        let _ =
            write!(text, "{}", POD.replace("NUMBER", &format!("{pod:05}")).replace("APP", &app).replace("NODE", &node));
    }
    text + "kind: List\nmetadata:\n  resourceVersion: \"\"\n"
}

fn load(bencher: divan::Bencher, text: &str) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("room for the dump");
    let path = [file.path().to_owned()];
    bencher.counter(BytesCount::of_str(text)).bench_local(|| {
        let cluster = import::load(&path, &mut std::io::empty()).expect("a dump without defects");
        assert!(cluster.pods().len() > 1_000, "all pods were read");
        cluster
    });
}

/// Target: under 5 s and 1.5 GiB.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn yaml_100_mb(bencher: divan::Bencher) {
    load(bencher, &dump(1_000, 20_000));
}

const NODE: &str = r#"- apiVersion: v1
  kind: Node
  metadata:
    annotations:
      kubeadm.alpha.kubernetes.io/cri-socket: unix:///run/containerd/containerd.sock
      node.alpha.kubernetes.io/ttl: "0"
      volumes.kubernetes.io/controller-managed-attach-detach: "true"
    creationTimestamp: "2026-01-01T00:00:00Z"
    labels:
      beta.kubernetes.io/arch: amd64
      beta.kubernetes.io/os: linux
      kubernetes.io/arch: amd64
      kubernetes.io/hostname: NODE
      kubernetes.io/os: linux
    name: NODE
    resourceVersion: "1000"
    uid: 11111111-0000-4000-8000-NODE
  spec:
    podCIDR: 10.244.0.0/24
    podCIDRs:
    - 10.244.0.0/24
  status:
    addresses:
    - address: 10.0.0.1
      type: InternalIP
    - address: NODE
      type: Hostname
    allocatable:
      cpu: "16"
      ephemeral-storage: 203056560Ki
      hugepages-1Gi: "0"
      hugepages-2Mi: "0"
      memory: 65753480Ki
      pods: "110"
    capacity:
      cpu: "16"
      ephemeral-storage: 203056560Ki
      hugepages-1Gi: "0"
      hugepages-2Mi: "0"
      memory: 65753480Ki
      pods: "110"
    conditions:
    - lastHeartbeatTime: "2026-01-06T12:00:00Z"
      lastTransitionTime: "2026-01-01T00:00:00Z"
      message: kubelet has sufficient memory available
      reason: KubeletHasSufficientMemory
      status: "False"
      type: MemoryPressure
    - lastHeartbeatTime: "2026-01-06T12:00:00Z"
      lastTransitionTime: "2026-01-01T00:00:00Z"
      message: kubelet is posting ready status
      reason: KubeletReady
      status: "True"
      type: Ready
    images:
    - names:
      - registry.example/shop/web@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
      - registry.example/shop/web:1.0
      sizeBytes: 184232211
    nodeInfo:
      architecture: amd64
      containerRuntimeVersion: containerd://1.7.27
      kernelVersion: 6.8.0-45-generic
      kubeletVersion: v1.36.2
      operatingSystem: linux
      osImage: Ubuntu 24.04.1 LTS
"#;

const APP: &str = r#"- apiVersion: apps/v1
  kind: Deployment
  metadata:
    annotations:
      deployment.kubernetes.io/revision: "1"
    creationTimestamp: "2026-01-02T00:00:00Z"
    generation: 1
    labels:
      app: APP
    name: APP
    namespace: shop
    uid: 22222222-0000-4000-8000-APP
  spec:
    replicas: 20
    selector:
      matchLabels:
        app: APP
    strategy:
      rollingUpdate:
        maxSurge: 25%
        maxUnavailable: 25%
      type: RollingUpdate
    template:
      metadata:
        labels:
          app: APP
      spec:
        containers:
        - image: registry.example/shop/web:1.0
          name: web
          resources:
            requests:
              cpu: 100m
              memory: 200Mi
  status:
    availableReplicas: 20
    observedGeneration: 1
    readyReplicas: 20
    replicas: 20
    updatedReplicas: 20
- apiVersion: apps/v1
  kind: ReplicaSet
  metadata:
    annotations:
      deployment.kubernetes.io/desired-replicas: "20"
      deployment.kubernetes.io/revision: "1"
    creationTimestamp: "2026-01-02T00:00:00Z"
    generation: 1
    labels:
      app: APP
      pod-template-hash: 5d8f7c9b6
    name: APP-5d8f7c9b6
    namespace: shop
    ownerReferences:
    - apiVersion: apps/v1
      blockOwnerDeletion: true
      controller: true
      kind: Deployment
      name: APP
      uid: 22222222-0000-4000-8000-APP
    uid: 33333333-0000-4000-8000-APP
  spec:
    replicas: 20
    selector:
      matchLabels:
        app: APP
        pod-template-hash: 5d8f7c9b6
    template:
      metadata:
        labels:
          app: APP
          pod-template-hash: 5d8f7c9b6
      spec:
        containers:
        - image: registry.example/shop/web:1.0
          name: web
          resources:
            requests:
              cpu: 100m
              memory: 200Mi
  status:
    replicas: 20
"#;

const POD: &str = r#"- apiVersion: v1
  kind: Pod
  metadata:
    annotations:
      checksum/config: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
      prometheus.io/path: /metrics
      prometheus.io/port: "9090"
      prometheus.io/scrape: "true"
    creationTimestamp: "2026-01-03T00:00:00Z"
    generateName: APP-5d8f7c9b6-
    generation: 1
    labels:
      app: APP
      pod-template-hash: 5d8f7c9b6
    name: APP-5d8f7c9b6-NUMBER
    namespace: shop
    ownerReferences:
    - apiVersion: apps/v1
      blockOwnerDeletion: true
      controller: true
      kind: ReplicaSet
      name: APP-5d8f7c9b6
      uid: 33333333-0000-4000-8000-APP
    resourceVersion: "123456"
    uid: 44444444-0000-4000-8000-NUMBER
  spec:
    affinity:
      podAntiAffinity:
        preferredDuringSchedulingIgnoredDuringExecution:
        - podAffinityTerm:
            labelSelector:
              matchLabels:
                app: APP
            topologyKey: kubernetes.io/hostname
          weight: 100
    containers:
    - args:
      - --listen=0.0.0.0:8080
      - --log-level=info
      env:
      - name: POD_NAME
        valueFrom:
          fieldRef:
            apiVersion: v1
            fieldPath: metadata.name
      - name: DATABASE_URL
        valueFrom:
          secretKeyRef:
            key: url
            name: APP-database
      - name: FEATURES
        value: alpha,beta,gamma,delta
      image: registry.example/shop/web:1.0
      imagePullPolicy: IfNotPresent
      lifecycle:
        preStop:
          exec:
            command:
            - sleep
            - "5"
      livenessProbe:
        failureThreshold: 3
        httpGet:
          path: /healthz
          port: 8080
          scheme: HTTP
        periodSeconds: 10
        successThreshold: 1
        timeoutSeconds: 1
      name: web
      ports:
      - containerPort: 8080
        name: http
        protocol: TCP
      readinessProbe:
        failureThreshold: 3
        httpGet:
          path: /ready
          port: 8080
          scheme: HTTP
        periodSeconds: 5
        successThreshold: 1
        timeoutSeconds: 1
      resources:
        limits:
          memory: 400Mi
        requests:
          cpu: 100m
          memory: 200Mi
      securityContext:
        allowPrivilegeEscalation: false
        capabilities:
          drop:
          - ALL
        readOnlyRootFilesystem: true
      terminationMessagePath: /dev/termination-log
      terminationMessagePolicy: File
      volumeMounts:
      - mountPath: /etc/config
        name: config
      - mountPath: /var/run/secrets/kubernetes.io/serviceaccount
        name: kube-api-access-x7x2q
        readOnly: true
    dnsPolicy: ClusterFirst
    enableServiceLinks: true
    nodeName: NODE
    preemptionPolicy: PreemptLowerPriority
    priority: 0
    restartPolicy: Always
    schedulerName: default-scheduler
    securityContext: {}
    serviceAccount: default
    serviceAccountName: default
    terminationGracePeriodSeconds: 30
    tolerations:
    - effect: NoExecute
      key: node.kubernetes.io/not-ready
      operator: Exists
      tolerationSeconds: 300
    - effect: NoExecute
      key: node.kubernetes.io/unreachable
      operator: Exists
      tolerationSeconds: 300
    volumes:
    - configMap:
        defaultMode: 420
        name: APP-config
      name: config
    - name: kube-api-access-x7x2q
      projected:
        defaultMode: 420
        sources:
        - serviceAccountToken:
            expirationSeconds: 3607
            path: token
        - configMap:
            items:
            - key: ca.crt
              path: ca.crt
            name: kube-root-ca.crt
  status:
    conditions:
    - lastProbeTime: null
      lastTransitionTime: "2026-01-03T00:00:03Z"
      observedGeneration: 1
      status: "True"
      type: PodReadyToStartContainers
    - lastProbeTime: null
      lastTransitionTime: "2026-01-03T00:00:00Z"
      observedGeneration: 1
      status: "True"
      type: Initialized
    - lastProbeTime: null
      lastTransitionTime: "2026-01-03T00:00:05Z"
      observedGeneration: 1
      status: "True"
      type: Ready
    - lastProbeTime: null
      lastTransitionTime: "2026-01-03T00:00:05Z"
      observedGeneration: 1
      status: "True"
      type: ContainersReady
    - lastProbeTime: null
      lastTransitionTime: "2026-01-03T00:00:00Z"
      observedGeneration: 1
      status: "True"
      type: PodScheduled
    containerStatuses:
    - containerID: containerd://0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
      image: registry.example/shop/web:1.0
      imageID: registry.example/shop/web@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
      lastState: {}
      name: web
      ready: true
      restartCount: 0
      started: true
      state:
        running:
          startedAt: "2026-01-03T00:00:02Z"
    hostIP: 10.0.0.1
    phase: Running
    podIP: 10.244.0.2
    podIPs:
    - ip: 10.244.0.2
    qosClass: Burstable
    startTime: "2026-01-03T00:00:00Z"
"#;
