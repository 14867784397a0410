//! What goes over a connection, and what happens when it breaks.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use cmsim::live::ssh::{Error, Sudo};

use super::sshd::{Sshd, kill};
use super::{block_on, one, with_sshd};

#[test]
fn codes_and_both_streams_come_back() {
    with_sshd(|sshd| async move {
        let hosts = one(sshd.target(), sshd.settings());
        let output = hosts.run("n1", "echo out; echo err >&2; exit 7", Sudo::No).await.unwrap();
        assert_eq!((output.code, output.text().as_str(), output.complaint().as_str()), (7, "out\n", "err"));
        // Nothing of the script is eaten by a command that reads.
        let output = hosts.run("n1", "cat; echo 'it'\"'\"'s {} \\ $HOME'' }'", Sudo::No).await.unwrap();
        assert_eq!(output.text(), "it's {} \\ $HOME }\n");
        // A script that makes no sense does nothing.
        let mark = sshd.path("mark");
        let output = hosts.run("n1", &format!("touch {}\nif", mark.display()), Sudo::No).await.unwrap();
        assert!(output.code != 0 && !mark.exists(), "{output:?}");
        assert!(matches!(hosts.run("n2", "true", Sudo::No).await, Err(Error::Inventory { .. })));
        assert_eq!(sshd.sessions().len(), 1, "one connection for all");
        // A host that goes down ends what runs there.
        let ended = hosts.run("n1", "kill -TERM $$", Sudo::No).await;
        assert!(matches!(ended, Err(Error::Lost { .. })), "{ended:?}");
        hosts.close().await;
    });
}

#[test]
fn more_than_a_window_comes_back_whole() {
    with_sshd(|sshd| async move {
        let hosts = one(sshd.target(), sshd.settings());
        let script = "seq 1 1500000; seq 1 400000 >&2";
        let output = hosts.run("n1", script, Sudo::No).await.unwrap();
        let lines = |count: u32| (1..=count).map(|number| format!("{number}\n")).collect::<String>();
        assert!(output.text() == lines(1_500_000), "{} bytes", output.stdout.len());
        assert!(output.stderr == lines(400_000).into_bytes(), "{} bytes", output.stderr.len());
        let error = hosts.run("n1", "yes", Sudo::No).await.unwrap_err();
        assert!(error.to_string().contains("wrote more than"), "{error}");
        assert_eq!(hosts.run("n1", "echo on", Sudo::No).await.unwrap().text(), "on\n");
    });
}

#[test]
fn files_go_and_come_byte_for_byte() {
    with_sshd(|sshd| async move {
        let hosts = one(sshd.target(), sshd.settings());
        let bytes: Vec<u8> = (0..5_000_000u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let path = sshd.path("a file's name \\ $x").display().to_string();
        hosts.upload("n1", &path, "0640", &bytes, Sudo::No).await.unwrap();
        assert!(fs::read(&path).unwrap() == bytes);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(hosts.download("n1", &path, Sudo::No).await.unwrap() == bytes);
        hosts.upload("n1", &path, "0600", b"", Sudo::No).await.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        let error = hosts.upload("n1", "/nowhere/x", "0600", b"x", Sudo::No).await.unwrap_err();
        assert!(error.to_string().contains("/nowhere/x"), "{error}");
        assert!(hosts.download("n1", "/nowhere/x", Sudo::No).await.is_err());
    });
}

#[test]
fn a_command_without_end_is_given_up() {
    with_sshd(|sshd| async move {
        let hosts = one(sshd.target(), sshd.settings());
        let begun = Instant::now();
        let error = hosts.run_within("n1", "sleep 60", Sudo::No, Duration::from_millis(500)).await.unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert_eq!(hosts.run("n1", "echo on", Sudo::No).await.unwrap().text(), "on\n");
    });
}

#[test]
fn a_broken_connection_is_said_and_made_anew() {
    with_sshd(|sshd| async move {
        let hosts = one(sshd.target(), sshd.settings());
        assert_eq!(hosts.run("n1", "echo one", Sudo::No).await.unwrap().text(), "one\n");
        let cut = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            sshd.sessions().into_iter().for_each(kill);
        };
        let (answer, ()) = tokio::join!(hosts.run("n1", "sleep 20", Sudo::No), cut);
        assert!(matches!(answer, Err(Error::Lost { .. })), "{answer:?}");
        assert_eq!(hosts.run("n1", "echo two", Sudo::No).await.unwrap().text(), "two\n");
    });
}

#[test]
fn hosts_that_are_not_there_are_unreachable() {
    let Some(sshd) = Sshd::start("") else { return };
    block_on(async move {
        let mut target = sshd.target();
        // Nobody listens there; and there somebody listens who never answers.
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut settings = sshd.settings();
        settings.connect_timeout = Duration::from_millis(500);
        for port in [1, silent.local_addr().unwrap().port()] {
            target.port = port;
            let error = one(target.clone(), settings.clone()).run("n1", "true", Sudo::No).await.unwrap_err();
            assert!(error.is_unreachable(), "{error}");
        }
        target.address = "no-such-host.invalid".to_owned();
        let error = one(target, settings).run("n1", "true", Sudo::No).await.unwrap_err();
        assert!(error.is_unreachable(), "{error}");
    });
}
