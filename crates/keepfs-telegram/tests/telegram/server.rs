//! The local Telegram server as its own process, and machines that log in to it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use keepfs_telegram::{
    Application, AuthKey, Deadlines, Endpoint, Login, Machine, OpenWish, Settings, Step, TelegramStore,
    TestCentre,
};
use serde_json::{Value, json};
use zeroize::Zeroizing;

pub(crate) const PHONE: &str = "+15550001";
pub(crate) const CODE: &str = "12345";

/// A server of one test.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    other_centre: SocketAddr,
    control: Mutex<(BufReader<TcpStream>, TcpStream)>,
    pub(crate) scratch: tempfile::TempDir,
}

/// Builds the server once and says where its program is.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let status = Command::new(env!("CARGO"))
            .args(["build", "--release", "--quiet", "-p", "keepfs-tgsim"])
            .status()
            .unwrap();
        assert!(status.success(), "the test server does not build");
        let own = std::env::current_exe().unwrap();
        let built = own.ancestors().find(|directory| directory.join("deps").is_dir()).unwrap();
        built.with_file_name("release").join("keepfs-tgsim")
    })
}

impl Server {
    /// One account without a password.
    pub(crate) fn start() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let mut child =
            Command::new(program()).args(["--data-centres", "2,4"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap();
        let address = told["address"].as_str().unwrap().parse().unwrap();
        let other_centre = told["data_centres"]["4"].as_str().unwrap().parse().unwrap();
        let stream = TcpStream::connect(told["control"].as_str().unwrap()).unwrap();
        let control = Mutex::new((BufReader::new(stream.try_clone().unwrap()), stream));
        let server = Server { child, address, other_centre, control, scratch };
        server.command(&json!({"command": "account", "phone": PHONE, "code": CODE}));
        server
    }

    pub(crate) fn command(&self, command: &Value) -> Value {
        let mut control = self.control.lock().unwrap();
        writeln!(control.1, "{command}").unwrap();
        let mut line = String::new();
        control.0.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        assert!(answer.get("error").is_none_or(Value::is_null), "{command}: {answer}");
        answer
    }

    pub(crate) fn counters(&self) -> Value {
        self.command(&json!({"command": "counters"}))
    }

    /// How often a method was asked for.
    pub(crate) fn requests(&self, method: &str) -> u64 {
        self.counters()["requests"][method].as_u64().unwrap_or(0)
    }

    /// How many documents were made whole, by all their names.
    pub(crate) fn completed(&self) -> Vec<String> {
        let counters = self.counters();
        let completed = counters["completed"].as_array().unwrap();
        completed.iter().map(|document| document["name"].as_str().unwrap().to_owned()).collect()
    }

    /// The next `times` requests of a method meet with this.
    pub(crate) fn fault(&self, method: &str, times: u32, action: Value) {
        self.command(
            &json!({"command": "fault", "fault": {"method": method, "times": times, "action": action}}),
        );
    }

    /// So many of a hundred requests meet with this, from now on.
    pub(crate) fn weather(&self, percent: u32, seed: u32, action: Value) {
        let fault =
            json!({"method": "*", "times": 1_000_000, "percent": percent, "seed": seed, "action": action});
        self.command(&json!({"command": "fault", "fault": fault}));
    }

    pub(crate) fn clear(&self) {
        self.command(&json!({"command": "clear_faults"}));
    }

    /// An error of the server, of this kind.
    pub(crate) fn error(code: i32, message: &str) -> Value {
        json!({"error": {"code": code, "message": message}})
    }

    /// A machine that has not logged in.
    pub(crate) fn machine(&self, name: &str) -> Settings {
        let directory = self.scratch.path().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("key");
        self.command(&json!({"command": "issue_key", "path": path}));
        let key = AuthKey::new(&std::fs::read(path).unwrap()).unwrap();
        let mut settings = Settings::new(Arc::new(Memory::default()), directory.join("state"));
        settings.endpoint = Some(Endpoint::new(self.address, key));
        let deadline = Duration::from_secs(4);
        settings.deadlines = Deadlines { connect: deadline, request: deadline, part: deadline };
        settings
    }

    /// A machine that has not logged in and knows data centre 4 as well.
    pub(crate) fn traveller(&self, name: &str) -> Settings {
        let mut settings = self.machine(name);
        let path = self.scratch.path().join(name).join("other-key");
        self.command(&json!({"command": "issue_key", "path": path}));
        let key = AuthKey::new(&std::fs::read(path).unwrap()).unwrap();
        let centre = TestCentre { address: self.other_centre, key };
        settings.endpoint.as_mut().unwrap().others.insert(4, centre);
        settings
    }

    /// A machine that has logged in.
    pub(crate) fn member(&self, name: &str) -> Settings {
        let settings = self.machine(name);
        let mut login = Login::begin(settings.clone(), &application(), PHONE).unwrap();
        assert!(matches!(login.present_code(CODE).unwrap(), Step::Done(_)));
        settings
    }

    /// A store of a new machine.
    pub(crate) fn store(&self, machine: &str, place: &str) -> TelegramStore {
        open(&self.member(machine), place)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn open(settings: &Settings, place: &str) -> TelegramStore {
    TelegramStore::open(place, OpenWish { create: true }, settings.clone()).unwrap()
}

pub(crate) fn application() -> Application {
    Application { api_id: 17, api_hash: Zeroizing::new("0123456789abcdef0123456789abcdef".to_owned()) }
}

/// A machine that keeps its session in memory.
#[derive(Default)]
struct Memory(Mutex<Option<Vec<u8>>>);

impl Machine for Memory {
    fn load_session(&self) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        Ok(self.0.lock().unwrap().clone().map(Zeroizing::new))
    }

    fn save_session(&self, bytes: &[u8]) -> Result<(), String> {
        *self.0.lock().unwrap() = Some(bytes.to_vec());
        Ok(())
    }

    fn remove_session(&self) -> Result<(), String> {
        *self.0.lock().unwrap() = None;
        Ok(())
    }

    fn fill_random(&self, out: &mut [u8]) {
        use std::io::Read;
        std::fs::File::open("/dev/urandom").unwrap().read_exact(out).unwrap();
    }
}

/// Bytes that differ everywhere.
pub(crate) fn bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..len.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(len).collect()
}
