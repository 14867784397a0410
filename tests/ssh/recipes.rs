//! The built-in recipes, end to end on a host whose package manager, kubeadm and systemd are played by small programs.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use cmsim::cluster::Version;
use cmsim::live::ssh::{Hosts, JobState};
use cmsim::recipe::{Job, Recipe, Role, Values};
use tempfile::TempDir;

use super::sshd::{Sshd, kill};
use super::{block_on, one};

/// Programs of a host with kubeadm, kubelet and kubectl 1.36.3; what they change stands in the folder, what they do in `calls`.
struct Programs(TempDir);

impl Programs {
    fn new() -> Programs {
        let programs = Programs(tempfile::Builder::new().prefix("cmsim-host-").tempdir().unwrap());
        for package in ["kubeadm", "kubelet", "kubectl"] {
            programs.set(package, "1.36.3");
        }
        let note = "note() { echo \"$*\" >>$AT/calls; }";
        for (name, body) in [
            (
                "kubeadm",
                "case $1 in version) echo v$(cat $AT/kubeadm);; *) note kubeadm \"$@\"; touch $AT/upgraded;; esac",
            ),
            ("kubelet", "echo Kubernetes v$(cat $AT/kubelet)"),
            ("systemctl", "case $1 in show) echo $PPID;; is-active) ;; *) note systemctl \"$@\";; esac"),
            ("curl", "echo ok"),
            ("grep", "case $* in */etc/kubernetes/*) [ -e $AT/upgraded ];; *) exec /usr/bin/grep \"$@\";; esac"),
            ("dpkg", "note dpkg --configure"),
            ("dpkg-query", "echo 'install ok installed'"),
            ("apt-mark", "note apt-mark \"$@\""),
            (
                "apt-cache",
                "[ -e $AT/empty ] || for v in 1.37.2-1.2 1.37.2-1.1 1.37.1-1.1 1.36.3-1.1; do echo \" $2 | $v | source\"; done",
            ),
            (
                "apt-get",
                "for w; do case $w in update) exit;; kube*=*) i=\"$i $w\";; esac; done\nnote apt-get$i\n\
                 case $i in *kubelet*) while [ -e $AT/hang ]; do sleep 0.05; done;; esac\n\
                 for p in $i; do v=${p#*=}; echo ${v%-*} >$AT/${p%%=*}; done",
            ),
            ("rpm", "exit 0"),
            (
                "dnf",
                "verb=$1; for w; do case $w in kube*) i=\"$i $w\";; esac; done\nnote dnf $verb$i\n\
                 for p in $i; do echo ${p#*-} >$AT/${p%%-*}; done",
            ),
        ] {
            let path = programs.path().join("bin").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, format!("#!/bin/sh\nAT={}\n{note}\n{body}\n", programs.path().display())).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        programs
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn set(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    fn version(&self, package: &str) -> String {
        fs::read_to_string(self.path().join(package)).unwrap().trim().to_owned()
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path().join("calls")).unwrap_or_default();
        text.lines()
            .filter(|line| !line.starts_with("apt-mark") && !line.starts_with("dpkg"))
            .map(str::to_owned)
            .collect()
    }

    fn sshd(&self) -> Option<Sshd> {
        Sshd::start(&format!("SetEnv PATH={}/bin:/usr/bin:/bin", self.path().display()))
    }
}

fn values(role: Role) -> Values {
    let flags = ("kubeadmFlags".to_owned(), "--ignore-preflight-errors=all".to_owned());
    Values {
        node: "n1".to_owned(),
        address: "10.0.0.1".to_owned(),
        role,
        version: Version::new(37, 2),
        from: Some(Version::new(36, 3)),
        given: BTreeMap::from([flags]),
    }
}

fn job(recipe: &str, id: &str, role: Role) -> Job {
    Recipe::built_in(recipe).unwrap().unwrap().job(id, &values(role)).unwrap()
}

async fn end(hosts: &Hosts, job: &Job) -> JobState {
    loop {
        let state = hosts.ensure_job("n1", job).await.unwrap();
        if state.is_over() {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_control_plane_and_a_worker_are_upgraded_once() {
    for (recipe, install) in [
        ("kubeadm-apt", ["apt-get kubeadm=1.37.2-1.2", "apt-get kubelet=1.37.2-1.2 kubectl=1.37.2-1.2"]),
        ("kubeadm-dnf", ["dnf install kubeadm-1.37.2", "dnf install kubelet-1.37.2 kubectl-1.37.2"]),
    ] {
        let programs = Programs::new();
        let Some(sshd) = programs.sshd() else { return };
        block_on(async move {
            let hosts = one(sshd.target(), sshd.settings());
            let first = job(recipe, "first", Role::FirstControlPlane);
            for _ in 0..2 {
                let state = end(&hosts, &first).await;
                assert_eq!(state, JobState::Succeeded, "{}", hosts.job_log("n1", "first").await.unwrap());
            }
            let mut done = vec![
                install[0].to_owned(),
                "kubeadm upgrade plan --ignore-preflight-errors=all v1.37.2".to_owned(),
                "kubeadm upgrade apply -y --ignore-preflight-errors=all v1.37.2".to_owned(),
                install[1].to_owned(),
                "systemctl daemon-reload".to_owned(),
                "systemctl restart kubelet".to_owned(),
            ];
            assert_eq!(programs.calls(), done);
            for package in ["kubeadm", "kubelet", "kubectl"] {
                assert_eq!(programs.version(package), "1.37.2");
            }
            // Packages that are there already are left alone.
            assert_eq!(end(&hosts, &job(recipe, "again", Role::Worker)).await, JobState::Succeeded);
            done.push("kubeadm upgrade node --ignore-preflight-errors=all".to_owned());
            done.extend_from_within(4..6);
            assert_eq!(programs.calls(), done);
            // And back.
            let back = Recipe::built_in(recipe).unwrap().unwrap();
            let back = back.undo_job("back", &values(Role::FirstControlPlane)).unwrap();
            let state = end(&hosts, &back).await;
            assert_eq!(state, JobState::Succeeded, "{}", hosts.job_log("n1", "back").await.unwrap());
            for package in ["kubeadm", "kubelet", "kubectl"] {
                assert_eq!(programs.version(package), "1.36.3");
            }
        });
    }
}

#[test]
fn a_recipe_that_was_killed_goes_on_where_it_was() {
    let programs = Programs::new();
    let Some(sshd) = programs.sshd() else { return };
    block_on(async move {
        let hosts = one(sshd.target(), sshd.settings());
        let worker = job("kubeadm-apt", "worker", Role::Worker);
        programs.set("hang", "");
        while !programs.calls().iter().any(|call| call.contains("kubelet=")) {
            hosts.ensure_job("n1", &worker).await.unwrap();
        }
        let attempt = fs::read_to_string(sshd.path("jobs/worker/attempt")).unwrap();
        let id = attempt.lines().find_map(|line| line.strip_prefix("pid=")).unwrap().parse().unwrap();
        kill(id);
        let state = hosts.ensure_job("n1", &worker).await.unwrap();
        assert!(matches!(&state, JobState::Lost { step, .. } if step == "kubelet"), "{state:?}");
        fs::remove_file(programs.path().join("hang")).unwrap();
        hosts.restart_job("n1", &worker).await.unwrap();
        assert_eq!(end(&hosts, &worker).await, JobState::Succeeded);
        let calls = programs.calls();
        let count = |what: &str| calls.iter().filter(|call| call.starts_with(what)).count();
        assert_eq!(
            (count("apt-get kubeadm"), count("kubeadm upgrade"), count("systemctl restart")),
            (1, 1, 1),
            "{calls:?}"
        );
        assert_eq!(programs.version("kubelet"), "1.37.2");
    });
}

#[test]
fn a_source_without_the_version_is_named() {
    let programs = Programs::new();
    let Some(sshd) = programs.sshd() else { return };
    block_on(async move {
        programs.set("empty", "");
        let hosts = one(sshd.target(), sshd.settings());
        let worker = job("kubeadm-apt", "worker", Role::Worker);
        let JobState::Failed { step, log_tail, .. } = end(&hosts, &worker).await else { panic!("did not fail") };
        assert_eq!(step, "kubeadm");
        assert!(log_tail.contains("the package source has no kubeadm 1.37.2"), "{log_tail}");
        assert_eq!(programs.version("kubeadm"), "1.36.3");
    });
}
