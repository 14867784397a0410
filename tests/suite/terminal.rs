//! A terminal (the one of `script`) and somebody who types when asked.

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A run at a terminal.
pub struct Typed {
    child: Child,
    screen: ChildStdout,
    shown: String,
    answered: usize,
}

impl Typed {
    /// Starts it.
    pub fn start(command: &Command) -> Typed {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let line: Vec<String> = words.map(|word| shell_words::quote(&word.to_string_lossy()).into_owned()).collect();
        let mut script = Command::new("script");
        // In place of the shell: below one, `timeout` makes its command a background job of the terminal, which is stopped when it
        // reads. The shell is named because some do this by themselves.
        let line = format!("exec {}", line.join(" "));
        script.env("SHELL", "/bin/sh").args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        let mut child = script.spawn().unwrap();
        let screen = child.stdout.take().unwrap();
        Typed { child, screen, shown: String::new(), answered: 0 }
    }

    /// Waits until the screen shows a text after the last answer, and types.
    pub fn answer(&mut self, text: &str, keys: &str) {
        while !self.shown[self.answered..].contains(text) {
            assert!(self.read(), "{text:?} is not shown:\n{}", self.shown);
        }
        self.answered = self.shown.len();
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    fn read(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let read = self.screen.read(&mut buffer).unwrap();
        self.shown.push_str(&String::from_utf8_lossy(&buffer[..read]));
        read > 0
    }

    /// Waits for its end; its exit code, and all that it showed.
    pub fn end(mut self) -> (Option<i32>, String) {
        while self.read() {}
        (self.child.wait().unwrap().code(), self.shown)
    }
}
