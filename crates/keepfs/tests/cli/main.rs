//! The built binary over real mounts: what a person or a script sees. One binary, one module a subject.
//!
//! Needs /dev/fuse and either root or fusermount3; without them it fails and says so.

#![allow(clippy::unwrap_used)]

mod bad_input;
mod crash;
mod foreground;
mod helper;
mod keys;
mod main_path;
mod terminal;
mod unmounted;
mod world;

/// A module that nobody declares is a test that never runs.
#[test]
fn every_file_here_is_a_module() {
    let text = include_str!("main.rs");
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli");
    for entry in std::fs::read_dir(directory).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let module = name.strip_suffix(".rs").unwrap();
        assert!(module == "main" || text.contains(&format!("mod {module};")), "{name} is not declared");
    }
}
