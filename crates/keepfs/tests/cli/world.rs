//! One scratch machine for a test: a home, a store, a mount point, and the binary. Takes everything away again.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The password of every vault in these tests.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// What a command did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Exit code; -1 after a signal.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Outcome {
    /// Panics unless the command succeeded.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// Panics unless the command failed with this code, in one line that contains all words.
    pub(crate) fn fails(self, code: i32, words: &[&str]) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        let lines: Vec<_> = self.err.lines().filter(|line| !line.starts_with("keepfs: note:")).collect();
        assert_eq!(lines.len(), 1, "{self:?}");
        assert!(lines[0].starts_with("keepfs: "), "{self:?}");
        for word in words {
            assert!(lines[0].contains(word), "'{word}' is missing: {self:?}");
        }
        self
    }

    /// The last line of standard output as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.out.lines().last().unwrap_or_default())
            .unwrap_or_else(|_| panic!("{self:?}"))
    }
}

/// A scratch machine.
pub(crate) struct World {
    root: TempDir,
    /// `KEEPFS_HOME`.
    pub(crate) home: PathBuf,
    /// Directory of the store.
    pub(crate) store: PathBuf,
    /// Mount point.
    pub(crate) mount: PathBuf,
}

impl World {
    /// Directories, and no vault yet.
    pub(crate) fn new() -> Self {
        assert!(Path::new("/dev/fuse").exists(), "these tests mount for real: /dev/fuse is missing");
        let root = tempfile::Builder::new().prefix("keepfs-cli-").tempdir_in("/var/tmp").unwrap();
        let path = root.path().canonicalize().unwrap();
        let world =
            Self { home: path.join("home"), store: path.join("store"), mount: path.join("mount"), root };
        fs::create_dir(&world.mount).unwrap();
        world
    }

    /// With a vault.
    pub(crate) fn with_vault() -> Self {
        let world = Self::new();
        world.init();
        world
    }

    /// With a mounted vault.
    pub(crate) fn mounted() -> Self {
        let world = Self::with_vault();
        world.run(["mount", world.mount_str()]).ok();
        world
    }

    /// A path inside the scratch directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Founds a vault; its phrase is in the file `phrase`.
    pub(crate) fn init(&self) -> Outcome {
        let phrase = self.path("phrase");
        let phrase = phrase.to_str().unwrap();
        self.run(["init", &self.url(), "--kdf-memory", "64MiB", "--phrase-file", phrase]).ok()
    }

    /// URL of the store.
    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.store.display())
    }

    /// The mount point as text.
    pub(crate) fn mount_str(&self) -> &str {
        self.mount.to_str().unwrap()
    }

    /// The binary with a clean environment, the home and the password.
    pub(crate) fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_keepfs"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("KEEPFS_"))
        {
            command.env_remove(name);
        }
        command.args(arguments).env("KEEPFS_HOME", &self.home).env("KEEPFS_PASSWORD", PASSWORD);
        command.env_remove("NOTIFY_SOCKET").stdin(Stdio::null());
        command
    }

    /// Runs the binary.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Outcome {
        outcome(&mut self.command(arguments))
    }

    /// `status --json` of the only vault.
    pub(crate) fn status(&self) -> serde_json::Value {
        self.run(["status", "--json"]).ok().json()["vaults"][0].clone()
    }

    /// Process number of the daemon.
    pub(crate) fn daemon(&self) -> u32 {
        u32::try_from(self.status()["pid"].as_u64().unwrap()).unwrap()
    }

    /// Whether something is mounted on the mount point.
    pub(crate) fn is_mounted(&self) -> bool {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        table.lines().any(|line| line.split(' ').nth(4) == Some(self.mount_str()))
    }

    /// SIGKILL for the daemon; returns when it is gone.
    pub(crate) fn kill_daemon(&self) {
        let daemon = self.daemon();
        signal(daemon, "KILL");
        assert!(wait_until(|| !is_alive(daemon)));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let vaults = fs::read_dir(self.home.join("state")).into_iter().flatten().flatten();
        let holders = vaults.filter_map(|vault| fs::read(vault.path().join("daemon.lock")).ok());
        let holders: Vec<serde_json::Value> =
            holders.filter_map(|line| serde_json::from_slice(&line).ok()).collect();
        let points = holders.iter().filter_map(|holder| holder["mount_point"].as_str().map(PathBuf::from));
        for point in points.chain([self.mount.clone()]) {
            detach_all(&point);
        }
        // A daemon that still flushes would write into the directory while it is being removed.
        for daemon in holders.iter().filter_map(|holder| u32::try_from(holder["pid"].as_u64()?).ok()) {
            let ours = fs::read(format!("/proc/{daemon}/cmdline")).unwrap_or_default();
            if ours.ends_with(b"daemon-of-mount\0") {
                wait_until(|| !is_alive(daemon));
            }
        }
    }
}

/// Takes away everything that is mounted on a path.
fn detach_all(point: &Path) {
    let is_mounted = || {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        table.lines().any(|line| line.split(' ').nth(4) == point.to_str())
    };
    let detach: &[&str] = if is_root() { &["umount", "-l"] } else { &["fusermount3", "-uz"] };
    for _ in 0..8 {
        if !is_mounted() {
            return;
        }
        let _ = Command::new(detach[0]).args(&detach[1..]).arg(point).status();
    }
}

/// Whether these tests run as root.
pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// Runs a command to its end.
pub(crate) fn outcome(command: &mut Command) -> Outcome {
    let output = command.output().unwrap();
    Outcome {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Sends a signal by name.
pub(crate) fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").arg(format!("-{name}")).arg(process.to_string()).status().unwrap();
    assert!(sent.success());
}

/// Whether the process runs; a zombie does not.
pub(crate) fn is_alive(process: u32) -> bool {
    match fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat) => !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'),
        Err(_) => false,
    }
}

/// Waits up to half a minute for something to come true.
pub(crate) fn wait_until(mut holds: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    holds()
}

/// A child that is killed when the test ends.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Every file below a directory with its content, by relative path.
pub(crate) fn contents(root: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut found = std::collections::BTreeMap::new();
    let mut pending = vec![root.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                let content = fs::read(&path).unwrap();
                found.insert(path.strip_prefix(root).unwrap().to_owned(), content);
            }
        }
    }
    found
}

/// Bytes that do not compress; repeatable from the seed.
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(|_| random()).collect()
}

/// Files of several sizes in two directories; repeatable from the seed.
pub(crate) fn fill(root: &Path, seed: u64) {
    for directory in ["a", "a/deeper"] {
        fs::create_dir_all(root.join(directory)).unwrap();
        for len in [0, 1, 4096, 70_000, 3_000_000] {
            let seed = seed + (directory.len() + len) as u64;
            fs::write(root.join(directory).join(format!("file of {len}")), noise(len, seed)).unwrap();
        }
    }
}
