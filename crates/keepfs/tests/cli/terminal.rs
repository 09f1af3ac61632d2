//! What a person at a terminal meets: prompts, the phrase and its confirmation. The terminal is `script`'s.

use std::io::{Read, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use crate::world::{PASSWORD, Running, World};

/// A command at a terminal.
struct Session {
    child: Running,
    keys: ChildStdin,
    screen: ChildStdout,
    seen: String,
}

impl Session {
    fn start(world: &World, line: &str) -> Self {
        Self::shell(world, &format!("{} {line}", env!("CARGO_BIN_EXE_keepfs")))
    }

    fn shell(world: &World, line: &str) -> Self {
        let mut command = Command::new("script");
        command.args(["-qec", line, "/dev/null"]);
        command.env("KEEPFS_HOME", &world.home).env_remove("KEEPFS_PASSWORD").env("SHELL", "/bin/sh");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (keys, screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child: Running(child), keys, screen, seen: String::new() }
    }

    /// Reads until the words stand on the screen; what came with and before them.
    fn until(&mut self, words: &str) -> String {
        let mut buffer = [0; 1024];
        loop {
            if let Some(at) = self.seen.find(words) {
                let rest = self.seen.split_off(at + words.len());
                return std::mem::replace(&mut self.seen, rest);
            }
            let count = self.screen.read(&mut buffer).unwrap();
            assert!(count > 0, "'{words}' never came: {}", self.seen);
            self.seen += &String::from_utf8_lossy(&buffer[..count]);
        }
    }

    fn type_line(&mut self, text: &str) {
        self.keys.write_all(format!("{text}\n").as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    fn end(mut self) -> i32 {
        let mut rest = String::new();
        let _ = self.screen.read_to_string(&mut rest);
        self.child.0.wait().unwrap().code().unwrap_or(-1)
    }
}

#[test]
fn first_minutes_at_a_terminal() {
    let world = World::new();
    let mut session = Session::start(&world, &format!("init {} --kdf-memory 64MiB", world.url()));
    session.until("New password: ");
    session.type_line(PASSWORD);
    session.until("The same again: ");
    session.type_line(PASSWORD);
    let shown = session.until("Write it down now");
    assert!(!shown.contains(PASSWORD), "the password was echoed: {shown}");
    let words: Vec<&str> =
        shown.lines().filter(|line| line.starts_with("    ")).flat_map(str::split_whitespace).collect();
    assert_eq!(words.len(), 24, "{shown}");
    session.until("Word ");
    let first: usize = session.until(": ").trim_end_matches(": ").parse().unwrap();
    session.type_line("wrong");
    session.until("look again");
    for _ in 0..2 {
        session.until("Word ");
        let position: usize = session.until(": ").trim_end_matches(": ").parse().unwrap();
        assert!(position >= first);
        session.type_line(words[position - 1]);
    }
    session.until("Good.");
    assert_eq!(session.end(), 0);

    let mut session = Session::start(&world, &format!("mount {}", world.mount_str()));
    session.until("Password of vault 'default': ");
    session.type_line(PASSWORD);
    session.until("is mounted on");
    assert_eq!(session.end(), 0);
    assert!(world.is_mounted());
}

#[test]
fn different_passwords_are_refused_before_anything_is_made() {
    let world = World::new();
    let mut session = Session::start(&world, &format!("init {}", world.url()));
    session.until("New password: ");
    session.type_line("one");
    session.until("The same again: ");
    session.type_line("two");
    session.until("differ");
    assert_eq!(session.end(), 2);
    assert!(!world.store.exists());
}

#[test]
fn interrupt_at_a_prompt_is_130_and_gives_the_echo_back() {
    let world = World::with_vault();
    let keepfs = env!("CARGO_BIN_EXE_keepfs");
    // The shell goes on after the interrupt, to tell what is left.
    let line = format!("trap : INT; {keepfs} mount {}; echo code $?; stty -a", world.mount_str());
    let mut session = Session::shell(&world, &line);
    session.until("Password of vault");
    session.keys.write_all(&[3]).unwrap();
    let mut rest = String::new();
    let _ = session.screen.read_to_string(&mut rest);
    assert!(rest.contains("code 130"), "{rest:?}");
    assert!(rest.contains(" echo ") && !rest.contains("-echo "), "{rest:?}");
    assert!(!world.is_mounted());
}
