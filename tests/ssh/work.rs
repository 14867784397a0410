//! Recipes as the engine asks for them.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use cmsim::cluster::Version;
use cmsim::engine::Trouble;
use cmsim::live::ssh::{Inventory, Overrides, RecipeWork};
use cmsim::live::{Commands, HostTask, HostWork, JobState, Role, Task};
use cmsim::recipe::Recipe;

use super::sshd::{Sshd, user};
use super::with_sshd;

fn task(what: Task) -> HostTask {
    HostTask { id: "v1.37.2-n1".to_owned(), node: "n1".into(), address: "127.0.0.1".into(), what }
}

fn upgrade() -> HostTask {
    let (to, from) = (Version::new(37, 2), Some(Version::new(36, 3)));
    task(Task::Upgrade { to, from, role: Role::Worker })
}

/// A recipe that writes down what it is told, and fails unless the flag is there.
fn recipe(sshd: &Sshd, more: &str) -> Recipe {
    let (counts, flag) = (sshd.path("counts"), sshd.path("flag"));
    let text = format!(
        "name: x\nvariables: {{word: none}}\nsteps:\n\
         - {{name: a, run: 'echo {{{{ node }}}} {{{{ address }}}} {{{{ version }}}} {{{{ fromVersion }}}} {{{{ role }}}} {{{{ word }}}} >>{}'}}\n\
         - {{name: b, run: '[ -e {} ] {more}'}}\n",
        counts.display(),
        flag.display()
    );
    Recipe::parse(&text).unwrap()
}

fn work(sshd: &Sshd, recipe: Recipe, given: &[(&str, &str)]) -> Result<RecipeWork, Trouble> {
    let flags = Overrides { port: Some(sshd.port), key: Some(sshd.path("user")), ..Overrides::default() };
    let given: BTreeMap<String, String> =
        given.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let commands =
        Commands { upgrade: None, back_up: Some("touch \"$FOLDER/backup\"".to_owned()), folder: sshd.path("commands") };
    RecipeWork::new((Inventory::default(), flags, user()), sshd.settings(), (recipe, given), None, Box::new(commands))
}

async fn end(work: &mut RecipeWork, task: &HostTask) -> JobState {
    loop {
        work.ensure(task).await.unwrap();
        let state = work.state(task).await.unwrap();
        if !matches!(state, JobState::Absent | JobState::Running) {
            return state;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn a_failed_host_is_tried_again_by_the_next_command() {
    with_sshd(|sshd| async move {
        let given = [("word", "it's $HOME")];
        let mut first = work(&sshd, recipe(&sshd, ""), &given).unwrap();
        assert!(matches!(first.state(&upgrade()).await.unwrap(), JobState::Absent));
        let JobState::Failed(why) = end(&mut first, &upgrade()).await else { panic!("did not fail") };
        assert!(why.contains("step b failed with exit code 1, log "), "{why}");
        // Asked again by the same run, it stays failed.
        assert!(matches!(end(&mut first, &upgrade()).await, JobState::Failed(_)));
        fs::write(sshd.path("flag"), "").unwrap();
        // The next command begins where it stopped, also with a recipe that was put right.
        let mut second = work(&sshd, recipe(&sshd, "&& echo now"), &given).unwrap();
        assert!(matches!(end(&mut second, &upgrade()).await, JobState::Succeeded));
        let counts = fs::read_to_string(sshd.path("counts")).unwrap();
        assert_eq!(counts, "n1 127.0.0.1 v1.37.2 v1.36.3 worker it's $HOME\n");
    });
}

#[test]
fn what_is_no_upgrade_is_left_to_others() {
    with_sshd(|sshd| async move {
        let mut work = work(&sshd, recipe(&sshd, ""), &[]).unwrap();
        assert!(matches!(end(&mut work, &task(Task::BackUp)).await, JobState::Succeeded));
        assert!(!sshd.path("counts").exists());
    });
}

#[test]
fn mistakes_are_refused_and_silence_is_waited_out() {
    with_sshd(|sshd| async move {
        assert!(matches!(work(&sshd, recipe(&sshd, ""), &[("wrod", "x")]), Err(Trouble::Refused(_))));
        let mut closed = work(&sshd, recipe(&sshd, ""), &[]).unwrap();
        fs::write(sshd.path("known_hosts"), "").unwrap();
        assert!(matches!(closed.ensure(&upgrade()).await, Err(Trouble::Refused(why)) if why.contains("is not known")));
        let flags = Overrides { port: Some(1), ..Overrides::default() };
        let commands = Commands { upgrade: None, back_up: None, folder: sshd.path("commands") };
        let access = (Inventory::default(), flags, user());
        let mut gone =
            RecipeWork::new(access, sshd.settings(), (recipe(&sshd, ""), BTreeMap::new()), None, Box::new(commands))
                .unwrap();
        assert!(matches!(gone.ensure(&upgrade()).await, Err(Trouble::Unreachable(_))));
    });
}
