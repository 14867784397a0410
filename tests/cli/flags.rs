//! Exit codes, help, wrong usage, colour.

use predicates::prelude::*;

use super::{QUIET, TROUBLED, cmsim, error, out, root, run, write};

#[test]
fn exit_codes_tell_yes_no_and_could_not_run() {
    let cases = [
        (format!("check -f {QUIET} --to v1.37.0 --walks 5"), 0),
        (format!("check -f {TROUBLED} --to v1.37.0 --walks 5"), 1),
        (format!("capacity -f {QUIET} --to v1.37.0 --walks 5"), 0),
        (format!("capacity -f {TROUBLED} --to v1.37.0 --walks 5"), 0),
        ("conform drains fixtures/drains/two-nodes".to_owned(), 0),
        ("conform journal fixtures/journals/continued.jsonl".to_owned(), 0),
        ("conform journal fixtures/drains/two-nodes/run1.trace.jsonl".to_owned(), 2),
        ("explain J001".to_owned(), 0),
        ("explain floor".to_owned(), 2),
        ("explain P000".to_owned(), 2),
        ("--version".to_owned(), 0),
        (String::new(), 2),
        ("simulate".to_owned(), 2),
        ("check".to_owned(), 2),
        (format!("check -f {QUIET}"), 2),
        ("check -f no-such-file.yaml --to v1.37.0".to_owned(), 2),
        ("check -f no-such-folder/ --to v1.37.0".to_owned(), 2),
        ("test no-such-folder".to_owned(), 2),
        ("test docs".to_owned(), 2),
        ("conform drains no-such-folder".to_owned(), 2),
    ];
    for (line, code) in cases {
        let output = run(&line);
        assert_eq!(output.status.code(), Some(code), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout.is_empty(), code == 2, "{line}");
    }
}

#[test]
fn a_scenario_that_does_not_come_out_as_expected_is_a_no() {
    let folder = tempfile::tempdir().unwrap();
    let scenario = |verdict: &str| {
        format!(
            "story: nothing runs here\ncluster: {{nodes: {{count: 2}}}}\nwalks: 2\nexpect: {{verdict: {verdict}, completes: true}}\n"
        )
    };
    let right = write(folder.path(), "right.yaml", scenario("non-disruptive"));
    let wrong = write(folder.path(), "wrong.yaml", scenario("blocked"));
    let text = out(&cmsim().arg("test").arg(&right).output().unwrap(), 0);
    assert!(text.ends_with("1 scenarios, 0 failed\n"), "{text}");
    let text = out(&cmsim().arg("test").arg(&right).arg(&wrong).output().unwrap(), 1);
    assert!(text.contains("ok      right") && text.contains("FAILED  wrong"), "{text}");
    let half = write(folder.path(), "half.yaml", "story: x\nclustre: {}\nexpect: {}\n");
    let text = error(&cmsim().arg("test").arg(&half).output().unwrap());
    assert!(text.contains("half.yaml") && text.contains("clustre"), "{text}");
}

#[test]
fn help_of_every_command_shows_examples_and_exit_codes() {
    let all = out(&run("--help"), 0);
    let commands = ["check", "capacity", "explain", "conform", "test"];
    for command in commands {
        assert!(all.contains(&format!("  {command} ")), "{all}");
        for asked in [format!("{command} --help"), format!("help {command}")] {
            let text = out(&run(&asked), 0);
            assert!(text.contains("Examples:\n"), "{text}");
            assert!(text.contains(&format!("  cmsim {command} ")), "{text}");
            assert!(text.contains("Exit codes: 0 "), "{text}");
            assert!(text.contains(", 2 "), "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
        }
    }
    assert!(all.contains("Exit codes: 0 "), "{all}");
}

#[test]
fn wrong_usage_says_what_is_wrong_and_what_would_be_right() {
    let check = |flags: &str| format!("check -f {QUIET} --to v1.37.0 --walks 2 {flags}");
    for (line, expected) in [
        (check("--nodes n11"), "node \"n11\" is not in the input; did you mean \"n1\"?"),
        (check("--skip-node N3"), "did you mean \"n3\"?"),
        (check("--order n1,elsewhere"), "node \"elsewhere\" is not in the input; nodes are: n1, n2, n3"),
        (check("--order n1,n1"), "node \"n1\" stands twice in the order"),
        (check("--nodes n1 --skip-node n1"), "leave no node to upgrade"),
        (check("--nodes n1 --order n2"), "node \"n2\" stands in the order, but --nodes / --skip-node leave it out"),
        (check("--nodes-at-once 0"), "must be at least 1"),
        (check("--walks 0"), "'--walks <WALKS>'"),
        (check("--seed -1"), "unexpected argument '-1'"),
        (check("--pacing floor"), "a similar value exists: 'floors'"),
        (check("--drain-timeout soon"), "soon"),
        (check("--grace-period 99999999999"), "--grace-period is too long"),
        (check("--floor shop/Deployment/web"), "is not namespace/Kind/name=COUNT"),
        (check("--floor shop/Deployment/wep=1"), "did you mean \"shop/Deployment/web\"?"),
        (check("--accept-disruption web"), "is no workload or Service of the input"),
        (check("--ignore P000"), "no finding has the code \"P000\""),
        (check("--ignore-file no-such-file"), "reading no-such-file"),
        (check("--plan no-such-file"), "reading no-such-file"),
        (check("--hosts no-such-file"), "no-such-file: cannot be read"),
        (check("--trace no-such-folder/run.jsonl"), "writing no-such-folder/run.jsonl"),
        (check("--wlaks 3"), "a similar argument exists: '--walks'"),
        (format!("check -f {QUIET} --to latest"), "\"latest\" is not a Kubernetes version (example: v1.37.0)"),
        (format!("check -f {QUIET} --to 2.0.0"), "v2.0.0"),
        (format!("check -f {QUIET} --to v1.37.0.1"), "\"v1.37.0.1\" is not a Kubernetes version"),
        (format!("check -f {QUIET} --to 1.37.99999999999"), "is not a Kubernetes version"),
        (check("--settle redy"), "[possible values: displaced, none]"),
        (check("-o yaml"), "[possible values: text, json]"),
        (check("--force=yes"), "[possible values: true, false]"),
        (
            check("--drain-timeout 99999999999999h"),
            "is not a duration of up to a hundred years (examples: 30s, 10m, 1h30m)",
        ),
        (check("--grace-period x"), "invalid value 'x' for '--grace-period <SECONDS>'"),
        (check("-n shop"), "unexpected argument '-n'"),
        (check("--trace /"), "writing /"),
        (format!("check -f {QUIET} --to 1"), "\"1\" is not a Kubernetes version"),
        (format!("check -f {QUIET}"), "no target version: give --to v1.37.0"),
        ("check -f - -f - --to v1.37.0".to_owned(), "standard input can be read only once"),
        ("explain J0001".to_owned(), "did you mean \"J001\"?"),
        ("chekc".to_owned(), "a similar subcommand exists: 'check'"),
    ] {
        let text = error(&run(&line));
        assert!(text.contains(expected), "{line}\n{text}");
        assert!(text.starts_with("error: "), "{line}\n{text}");
    }
}

#[test]
fn versions_are_taken_as_people_write_them() {
    for to in ["v1.37.0", "1.37.0", "1.37", "v1.37", "v1.37.0-rc.1", "v1.37.0+k3s1"] {
        let text = out(&run(&format!("check -f {QUIET} --to {to} --walks 1 -o json")), 0);
        assert!(text.contains("\"non-disruptive\""), "{to}");
    }
}

#[test]
fn an_upgrade_to_what_is_there_already_is_called_so() {
    let text = out(&run(&format!("check -f {QUIET} --to v1.36.2 --walks 1")), 0);
    assert!(
        text.starts_with("NON-DISRUPTIVE  there is nothing to do: all nodes of the run are at the target"),
        "{text}"
    );
}

#[test]
fn a_plan_file_is_the_goal_and_flags_override_it() {
    let folder = tempfile::tempdir().unwrap();
    let plan = write(folder.path(), "plan.yaml", "to: v1.37.0\nonly: [n2, n3]\norder: [n3]\n");
    let turns = |flags: &[&str]| {
        let mut command = cmsim();
        command.args(["check", "-f", QUIET, "--walks", "1", "-o", "json", "--plan"]).arg(&plan).args(flags);
        let result: serde_json::Value = serde_json::from_slice(&command.output().unwrap().stdout).unwrap();
        let nodes = result["nodes"].as_array().unwrap().iter().filter(|node| node["order"] != 0);
        nodes.map(|node| node["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(turns(&[]), ["n3", "n2"]);
    assert_eq!(turns(&["--order", "n2"]), ["n2", "n3"]);
    let wrong = write(folder.path(), "wrong.yaml", "to: v1.37.0\npaceing: floors\n");
    let text = error(&cmsim().args(["check", "-f", QUIET, "--plan"]).arg(wrong).output().unwrap());
    assert!(text.contains("wrong.yaml") && text.contains("unknown field `paceing`"), "{text}");
}

#[test]
fn findings_are_ignored_by_code_and_object_and_by_file() {
    let folder = tempfile::tempdir().unwrap();
    let result = |flags: &[&str]| {
        let output = cmsim()
            .args(["check", "-f", TROUBLED, "--to", "v1.37.0", "--walks", "1", "-o", "json"])
            .args(flags)
            .output();
        serde_json::from_slice::<serde_json::Value>(&output.unwrap().stdout).unwrap()
    };
    let all = result(&[]);
    let findings = all["findings"].as_array().unwrap();
    assert!(!findings.is_empty());
    assert_eq!(all["findingsIgnored"], 0);
    let (code, object) = (findings[0]["code"].as_str().unwrap(), findings[0]["object"].as_str().unwrap());
    let same = |finding: &&serde_json::Value| finding["code"] == code;
    let of_code = findings.iter().filter(same).count();
    let one = format!("{code}={object}");
    for (flags, ignored) in [
        (vec!["--ignore", code], of_code),
        (vec!["--ignore", &code.to_lowercase()], of_code),
        (vec!["--ignore", &one], findings.iter().filter(same).filter(|one| one["object"] == object).count()),
        (vec!["--ignore", &format!("{code}=nowhere/Pod/none")], 0),
    ] {
        assert_eq!(result(&flags)["findingsIgnored"], ignored, "{flags:?}");
    }
    let file =
        write(folder.path(), "ignore.yaml", format!("ignore:\n- code: {code}\n  object: {object}\n  reason: agreed\n"));
    assert_eq!(
        result(&["--ignore-file", file.to_str().unwrap()])["findingsIgnored"],
        result(&["--ignore", &one])["findingsIgnored"]
    );

    for (text, expected) in [
        (format!("ignore:\n- code: {code}\n  objekt: {object}\n"), "line 3 column 3: unknown field `objekt`"),
        (format!("ignored:\n- code: {code}\n"), "unknown field `ignored`"),
        ("ignore:\n- object: x/Pod/y\n".to_owned(), "missing field `code`"),
        ("ignore:\n- code: P000\n".to_owned(), "no finding has the code \"P000\""),
        (format!("ignore:\n- code: {code}\n  object: everywhere\n"), "CODE=object"),
        ("ignore: [".to_owned(), "not an ignore file"),
    ] {
        let file = write(folder.path(), "wrong.yaml", text);
        let output = cmsim().args(["check", "-f", TROUBLED, "--to", "v1.37.0", "--ignore-file"]).arg(file).output();
        let text = error(&output.unwrap());
        assert!(text.contains(expected) && text.contains("wrong.yaml"), "{text}");
    }
}

#[test]
fn colour_is_only_for_terminals() {
    let plain = |command: &mut assert_cmd::Command| {
        let line = format!("check -f {TROUBLED} --to v1.37.0 --walks 1");
        let output = command.args(line.split_whitespace()).output().unwrap();
        assert!(output.stderr.is_empty(), "no progress in a pipe: {}", String::from_utf8_lossy(&output.stderr));
        !predicate::str::contains("\u{1b}[").eval(&out(&output, 1))
    };
    assert!(plain(&mut cmsim()));
    assert!(plain(cmsim().env("NO_COLOR", "1")));
    assert!(plain(cmsim().env("NO_COLOR", "1").env("TERM", "xterm-256color")));
    assert!(!plain(cmsim().env("CLICOLOR_FORCE", "1")), "colour that is asked for is given");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let program = env!("CARGO_BIN_EXE_cmsim");
    let shell = |line: &str| std::process::Command::new("sh").args(["-c", line]).current_dir(root()).output().unwrap();
    for (line, code) in [
        ("explain".to_owned(), "0"),
        ("check --help".to_owned(), "0"),
        (format!("check -f {TROUBLED} --to v1.37.0 --walks 1"), "1"),
        (format!("check -f {TROUBLED} --to v1.37.0 --walks 1 -o json"), "1"),
        (format!("capacity -f {TROUBLED} --to v1.37.0 --walks 1"), "0"),
    ] {
        // The code of the program itself, and whatever it said.
        let output = shell(&format!("{{ {{ {program} {line}; echo $? >&2; }} | true; }}"));
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("{code}\n"), "{line}");
        let output = shell(&format!("{program} {line} | head -1"));
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{line}");
        assert_eq!(output.stdout.iter().filter(|byte| **byte == b'\n').count(), 1, "{line}");
    }
    // One that cannot take the result is.
    if std::path::Path::new("/dev/full").exists() {
        let output = shell(&format!("{program} check -f {QUIET} --to v1.37.0 --walks 1 > /dev/full"));
        let text = error(&output);
        assert!(text.starts_with("error: writing the result\n"), "{text}");
    }
}

#[test]
fn inputs_that_hold_nothing_or_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir(path("empty")).unwrap();
    write(folder.path(), "notes/readme.txt", "kind of a note");
    write(folder.path(), "values/values.yaml", "replicas: 3\n");
    for (name, expected) in [
        ("empty", "holds no Kubernetes object; give the output of `kubectl get nodes,pods,"),
        ("notes", "holds no Kubernetes object"),
        ("values", "holds no Kubernetes object"),
        ("missing", "cannot be read: No such file"),
        ("values/values.yaml/x", "cannot be read: Not a directory"),
    ] {
        let text = error(&cmsim().args(["check", "--to", "v1.37.0", "-f"]).arg(path(name)).output().unwrap());
        assert!(text.contains(&format!("{}: {expected}", path(name).display())), "{name}: {text}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("loop", path("loop")).unwrap();
        let text = error(&cmsim().args(["check", "--to", "v1.37.0", "-f"]).arg(path("loop")).output().unwrap());
        assert!(text.contains("loop: cannot be read: "), "{text}");
    }
}

#[test]
fn a_run_that_would_have_to_ask_is_refused_without_a_terminal() {
    // Before anything is read: there is no such cluster.
    let text = error(&run("apply --to v1.37.0 --kubeconfig no-such-file --prompt"));
    assert!(text.contains("--prompt needs a terminal"), "{text}");
    let text = error(&run("apply --to v1.37.0 --kubeconfig no-such-file --prompt --dry-run"));
    assert!(text.contains("no-such-file"), "{text}");
    let text =
        error(&run("apply --to v1.37.0 --stop-routing-url lb.example.com --resume-routing-url http://lb.example.com"));
    assert!(text.contains("http://") && text.contains("--stop-routing-url"), "{text}");
    let text = error(&run("status --kubeconfig no-such-file"));
    assert!(text.contains("no-such-file"), "{text}");
}
