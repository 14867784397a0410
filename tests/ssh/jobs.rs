//! Supervised jobs: started once, whatever breaks.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cmsim::cluster::Millis;
use cmsim::live::ssh::{Error, Hosts, JobState};
use cmsim::recipe::JobStep;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::ground::{end, job, step};
use super::sshd::{Sshd, kill};
use super::{one, with_sshd};

/// A step that leaves a line for each time it runs.
fn counted(sshd: &Sshd, name: &str, more: &str) -> JobStep {
    step(name, &format!("echo {name} >>{}\n{more}", sshd.path("counts").display()))
}

fn counts(sshd: &Sshd) -> Vec<String> {
    fs::read_to_string(sshd.path("counts")).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// The process of the job's attempt.
fn supervisor(sshd: &Sshd, id: &str) -> u32 {
    let attempt = fs::read_to_string(sshd.path(&format!("jobs/{id}/attempt"))).unwrap();
    attempt.lines().find_map(|line| line.strip_prefix("pid=")).unwrap().parse().unwrap()
}

#[test]
fn a_job_runs_once_and_says_how_it_went() {
    with_sshd(|sshd| async move {
        let hosts = one(sshd.target(), sshd.settings());
        assert_eq!(hosts.job_state("n1", "up").await.unwrap(), JobState::Absent);
        let mut second = counted(&sshd, "b", "echo \"it's $((1 + 1))\"");
        second.verify = format!("[ -e {} ] || {{ touch {0}; exit 1; }}", sshd.path("seen").display());
        let mut third = counted(&sshd, "c", "");
        third.check = "true".to_owned();
        let up = job("up", vec![counted(&sshd, "a", "sleep 1"), second, third]);
        let JobState::Running { since, .. } = hosts.ensure_job("n1", &up).await.unwrap() else { panic!("not running") };
        assert!(since > 1_700_000_000);
        assert!(matches!(hosts.ensure_job("n1", &up).await.unwrap(), JobState::Running { .. }));
        assert_eq!(end(&hosts, &up).await, JobState::Succeeded);
        assert_eq!(hosts.restart_job("n1", &up).await.unwrap(), JobState::Succeeded);
        assert_eq!(counts(&sshd), ["a", "b"]);
        let log = hosts.job_log("n1", "up").await.unwrap();
        assert!(log.contains("it's 2\n") && log.contains("c: is done already"), "{log}");
        let other = job("up", vec![counted(&sshd, "a", "")]);
        let error = hosts.ensure_job("n1", &other).await.unwrap_err();
        assert!(error.to_string().contains("other content"), "{error}");
        assert!(hosts.ensure_job("n1", &job("../up", Vec::new())).await.is_err());
    });
}

#[test]
fn a_failed_job_stays_failed_until_it_is_started_again() {
    with_sshd(|sshd| async move {
        let hosts = one(sshd.target(), sshd.settings());
        let flag = sshd.path("flag");
        let fails = counted(&sshd, "b", &format!("echo before\nls {}\necho after", flag.display()));
        let up = job("up", vec![counted(&sshd, "a", ""), fails, counted(&sshd, "c", "")]);
        let JobState::Failed { step: at, exit_code, log_tail } = end(&hosts, &up).await else { panic!("not failed") };
        assert_eq!((at.as_str(), exit_code), ("b", 2));
        assert!(log_tail.contains("before\n") && !log_tail.contains("after\n"), "{log_tail}");
        assert!(matches!(hosts.ensure_job("n1", &up).await.unwrap(), JobState::Failed { .. }));
        fs::write(flag, "").unwrap();
        hosts.restart_job("n1", &up).await.unwrap();
        assert_eq!(end(&hosts, &up).await, JobState::Succeeded);
        assert_eq!(counts(&sshd), ["a", "b", "b", "c"]);
        let mut slow = step("slow", "sleep 30");
        slow.timeout = Millis::secs(1);
        let slow = job("slow", vec![slow]);
        assert!(matches!(end(&hosts, &slow).await, JobState::Failed { exit_code: 124, .. }));
    });
}

#[test]
fn a_job_that_was_killed_is_lost_and_goes_on_where_it_was() {
    with_sshd(|sshd| async move {
        let hosts = one(sshd.target(), sshd.settings());
        let go = sshd.path("go");
        let waits = format!("until [ -e {} ]; do sleep 0.1; done", go.display());
        let mut once = counted(&sshd, "b", &waits);
        once.once = true;
        let up = job("up", vec![counted(&sshd, "a", ""), once, counted(&sshd, "c", "")]);
        while counts(&sshd) != ["a", "b"] {
            hosts.ensure_job("n1", &up).await.unwrap();
        }
        kill(supervisor(&sshd, "up"));
        fs::write(&go, "").unwrap();
        let state = hosts.ensure_job("n1", &up).await.unwrap();
        assert!(matches!(&state, JobState::Lost { rebooted: false, step, .. } if step == "b"), "{state:?}");
        // What must not run twice does not, even when the job is started again.
        hosts.restart_job("n1", &up).await.unwrap();
        let state = end(&hosts, &up).await;
        assert!(matches!(&state, JobState::Failed { step, exit_code: 75, .. } if step == "b"), "{state:?}");
        fs::write(sshd.path("jobs/up/steps/b.done"), "").unwrap();
        hosts.restart_job("n1", &up).await.unwrap();
        assert_eq!(end(&hosts, &up).await, JobState::Succeeded);
        assert_eq!(counts(&sshd), ["a", "b", "c"]);
    });
}

#[test]
fn a_reboot_is_seen() {
    with_sshd(|sshd| async move {
        let hosts = one(sshd.target(), sshd.settings());
        let up = job("up", vec![counted(&sshd, "a", ""), counted(&sshd, "b", "sleep 20")]);
        while counts(&sshd) != ["a", "b"] {
            hosts.ensure_job("n1", &up).await.unwrap();
        }
        // What a reboot leaves: the process gone, and another boot id.
        kill(supervisor(&sshd, "up"));
        let attempt = sshd.path("jobs/up/attempt");
        let text = fs::read_to_string(&attempt).unwrap();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        fs::write(&attempt, text.replace(boot.trim(), "00000000-0000-0000-0000-000000000000")).unwrap();
        let state = hosts.ensure_job("n1", &up).await.unwrap();
        assert!(matches!(state, JobState::Lost { rebooted: true, .. }), "{state:?}");
    });
}

#[test]
fn a_job_is_started_once_by_many_at_once() {
    with_sshd(|sshd| async move {
        let up = job("up", vec![counted(&sshd, "a", "sleep 1"), counted(&sshd, "b", "")]);
        let starts = (0..8).map(|_| async {
            let hosts = one(sshd.target(), sshd.settings());
            hosts.ensure_job("n1", &up).await.unwrap();
            end(&hosts, &up).await
        });
        let ends = futures::future::join_all(starts).await;
        assert!(ends.iter().all(|state| *state == JobState::Succeeded));
        assert_eq!(counts(&sshd), ["a", "b"]);
    });
}

/// A way to the host that is cut after so many bytes from the operator, once; with the bytes that went over it.
async fn cut_way(port: u16, after: usize) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let sum = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sum);
    tokio::spawn(async move {
        let mut left = Some(after);
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            tokio::spawn(carry(client, server, left.take(), Arc::clone(&counter)));
        }
    });
    (own, sum)
}

async fn carry(client: TcpStream, server: TcpStream, left: Option<usize>, sum: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let down = tokio::spawn(async move {
        let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
    });
    let mut buffer = vec![0; 4096];
    let mut left = left.unwrap_or(usize::MAX);
    while left > 0 {
        let most = buffer.len().min(left);
        match from_client.read(&mut buffer[..most]).await {
            Ok(count) if count > 0 => {
                left -= count;
                sum.fetch_add(count, Ordering::SeqCst);
                if to_server.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
            _ => break,
        }
    }
    down.abort();
}

/// Hosts behind a way that is cut.
async fn behind_cut(sshd: &Sshd, after: usize) -> (Hosts, Arc<AtomicUsize>) {
    let mut target = sshd.target();
    target.host_key_alias = Some(format!("[127.0.0.1]:{}", sshd.port));
    let (port, sum) = cut_way(sshd.port, after).await;
    target.port = port;
    let mut settings = sshd.settings();
    settings.connect_timeout = Duration::from_secs(5);
    (one(target, settings), sum)
}

#[test]
fn connections_that_break_anywhere_start_a_job_once() {
    with_sshd(|sshd| async move {
        let two = |id: &str| job(id, vec![counted(&sshd, "a", "sleep 0.2"), counted(&sshd, "b", "")]);
        // The cuts lie in all of what a start sends.
        let (hosts, sum) = behind_cut(&sshd, usize::MAX).await;
        hosts.ensure_job("n1", &two("whole")).await.unwrap();
        let whole = sum.load(Ordering::SeqCst);
        assert_eq!(end(&hosts, &two("whole")).await, JobState::Succeeded);
        assert!(whole > 5_000, "{whole}");
        let mut broken = 0;
        for part in 0..14 {
            let after = 100 + part * (whole - 100) / 14;
            let _ = fs::remove_file(sshd.path("counts"));
            let (hosts, _) = behind_cut(&sshd, after).await;
            let up = two(&format!("up{part}"));
            if let Err(error) = hosts.ensure_job("n1", &up).await {
                assert!(error.is_unreachable(), "cut after {after} bytes: {error}");
                broken += 1;
            }
            assert_eq!(end(&hosts, &up).await, JobState::Succeeded, "cut after {after} bytes");
            assert_eq!(counts(&sshd), ["a", "b"], "cut after {after} bytes");
        }
        assert!(broken >= 10, "only {broken} starts were cut");
    });
}

#[test]
fn sessions_killed_at_any_time_do_not_disturb_a_job() {
    with_sshd(|sshd| async move {
        let steps = (0..10).map(|index| counted(&sshd, &format!("s{index}"), "sleep 0.6")).collect();
        let up = job("up", steps);
        let hosts = one(sshd.target(), sshd.settings());
        let mut cuts = 0;
        let state = loop {
            let cut = async {
                tokio::time::sleep(Duration::from_millis(13 * cuts % 90)).await;
                sshd.sessions().into_iter().for_each(kill);
            };
            let (state, ()) = tokio::join!(hosts.ensure_job("n1", &up), cut);
            cuts += 1;
            match state {
                Ok(state) if state.is_over() => break state,
                Ok(_) | Err(Error::Lost { .. } | Error::Unreachable { .. } | Error::Denied { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(state, JobState::Succeeded);
        assert!(cuts >= 10, "{cuts} cuts");
        let wanted: Vec<String> = (0..10).map(|index| format!("s{index}")).collect();
        assert_eq!(counts(&sshd), wanted);
        let left: Vec<PathBuf> = fs::read_dir(sshd.path("jobs")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!left.iter().any(|path| path.display().to_string().contains(".new")), "{left:?}");
    });
}
