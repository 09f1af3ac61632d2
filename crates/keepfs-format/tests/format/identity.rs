//! A vault's header and roster, frozen: what was written by format 1 opens for ever, and each named flaw is
//! refused for its own reason. `valid.txt` is the vault, `invalid.txt` are edits of it.
//!
//! `cargo test -p keepfs-format --test format write_the_frozen_vault -- --ignored` writes a new `valid.txt`; that is a change
//! of the format, and the offsets in `invalid.txt` must follow.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use data_encoding::HEXLOWER;
use keepfs_format::Env;
use keepfs_format::compress::Compression;
use keepfs_format::env::draw;
use keepfs_format::error::FormatError;
use keepfs_format::header::{Header, ListedSlot};
use keepfs_format::identity::{SigningKey, UserId};
use keepfs_format::ids::{MachineId, MachineTag, NamespaceId, Time, VaultId};
use keepfs_format::kdf::KdfParams;
use keepfs_format::keys::NamespaceSecrets;
use keepfs_format::phrase::RecoveryPhrase;
use keepfs_format::roster::{Change, NamespaceSettings, Roster, RosterKeys, User};
use keepfs_format::slot::{Slot, SlotPayload, UnlockSecret};
use keepfs_format::wrap::ReaderKey;

const ENTRIES: usize = 6;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/identity").join(name)
}

/// The bytes of a vault as far as identity goes.
#[derive(Clone)]
struct Vault {
    password: String,
    phrase: String,
    header: Vec<u8>,
    entries: Vec<Vec<u8>>,
    object: Vec<u8>,
}

/// What is read out of it.
#[derive(PartialEq, Eq, Debug)]
struct Contents {
    vault: String,
    machine_tag: u32,
    epoch_key: String,
    name_key: String,
    object_name: String,
}

fn fields(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(": ")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn frozen() -> (Vault, Contents) {
    let text = std::fs::read_to_string(path("valid.txt")).unwrap();
    let fields = fields(&text);
    let entries = (0..ENTRIES).map(|index| unhex(fields[format!("entry {index}").as_str()])).collect();
    let vault = Vault {
        password: fields["password"].to_owned(),
        phrase: fields["phrase"].to_owned(),
        header: unhex(fields["header"]),
        entries,
        object: unhex(fields["object"]),
    };
    let contents = Contents {
        vault: fields["vault"].to_owned(),
        machine_tag: fields["machine tag"].parse().unwrap(),
        epoch_key: fields["epoch key"].to_owned(),
        name_key: fields["name key"].to_owned(),
        object_name: fields["object name"].to_owned(),
    };
    (vault, contents)
}

/// Reads everything the way a newcomer does, with either secret.
fn read(vault: &Vault, secret: UnlockSecret<'_>) -> Result<Contents, FormatError> {
    let header = Header::decode(&vault.header)?;
    if !header.is_intact() {
        return Err(FormatError::Invalid { what: "checksum" });
    }
    let payload = header.open(secret)?.payload;
    let keys = RosterKeys::derive(&payload.roster_key, payload.vault);
    let mut roster = Roster::open(&vault.entries[0], payload.vault)?;
    for entry in &vault.entries[1..] {
        roster.accept(entry)?;
    }
    let last = vault.entries.len() as u64 - 1;
    if keys.open(last, &vault.object)? != vault.entries[last as usize] {
        return Err(FormatError::Invalid { what: "object" });
    }
    let main = roster.namespace("main").unwrap();
    let secrets = roster.secrets(main, payload.user, &payload.reader)?.remove(0);
    Ok(Contents {
        vault: HEXLOWER.encode(&roster.vault().0),
        machine_tag: roster.machines()[0].tag.0,
        epoch_key: HEXLOWER.encode(secrets.epoch_key.expose()),
        name_key: HEXLOWER.encode(secrets.name_key.expose()),
        object_name: keys.name(last),
    })
}

/// Applies `edit` or `cut` or `add` lines to a vault.
fn alter(vault: &mut Vault, line: &str) {
    let words: Vec<&str> = line.split(' ').collect();
    let part = match words[1] {
        "header" => &mut vault.header,
        "object" => &mut vault.object,
        index => &mut vault.entries[index.parse::<usize>().unwrap()],
    };
    match words[0] {
        "set" => {
            let (at, bytes) = (words[2].parse::<usize>().unwrap(), unhex(words[3]));
            assert_ne!(part[at..at + bytes.len()], bytes[..], "{line} changes nothing");
            part[at..at + bytes.len()].copy_from_slice(&bytes);
        }
        "cut" => part.truncate(words[2].parse().unwrap()),
        "add" => part.extend(unhex(words[2])),
        other => panic!("unknown edit {other}"),
    }
}

/// A header whose bytes were changed by a forger has a fitting checksum.
fn mend_checksum(header: &mut [u8]) {
    let at = header.len() - 32;
    let checksum = blake3::derive_key("keepfs/1 header checksum", &header[..at]);
    header[at..].copy_from_slice(&checksum);
}

#[test]
fn the_frozen_vault_opens_with_password_and_phrase() {
    let (vault, contents) = frozen();
    let phrase = RecoveryPhrase::parse(&vault.phrase).unwrap();
    assert_eq!(read(&vault, UnlockSecret::Password(vault.password.as_bytes())).unwrap(), contents);
    assert_eq!(read(&vault, UnlockSecret::Phrase(&phrase)).unwrap(), contents);
    // One encoding each: what was read encodes to the same bytes.
    assert_eq!(Header::decode(&vault.header).unwrap().encode(), vault.header);
}

#[test]
fn every_named_flaw_is_refused_for_its_reason() {
    let (whole, _) = frozen();
    let phrase = RecoveryPhrase::parse(&whole.phrase).unwrap();
    let text = std::fs::read_to_string(path("invalid.txt")).unwrap();
    let mut count = 0;
    for section in text.split("\n\n").filter(|section| section.contains("name: ")) {
        let fields = fields(section);
        let name = fields["name"];
        let mut vault = whole.clone();
        for line in section.lines().filter_map(|line| line.strip_prefix("edit: ")) {
            alter(&mut vault, line);
        }
        if fields.contains_key("mended") {
            mend_checksum(&mut vault.header);
        }
        let secret = match fields.get("with") {
            Some(&"password") => UnlockSecret::Password(whole.password.as_bytes()),
            _ => UnlockSecret::Phrase(&phrase),
        };
        let error = match read(&vault, secret) {
            Err(error) => format!("{error:?}"),
            Ok(_) => panic!("{name}: was not refused"),
        };
        assert!(error.starts_with(fields["refused"]), "{name}: {error}");
        count += 1;
    }
    assert!(count >= 30, "only {count} flaws");
}

struct SeededEnv(AtomicU64);

impl Env for SeededEnv {
    fn now(&self) -> Time {
        Time { secs: 1_800_000_000, nanos: 1 }
    }

    fn fill(&self, out: &mut [u8]) {
        let drawn = self.0.fetch_add(1, Ordering::Relaxed);
        blake3::Hasher::new().update(&drawn.to_le_bytes()).finalize_xof().fill(out);
    }
}

struct Writing {
    env: SeededEnv,
    key: SigningKey,
    id: UserId,
    roster: Roster,
    entries: Vec<Vec<u8>>,
}

impl Writing {
    fn say(&mut self, change: Change) {
        let bytes = self.roster.compose(self.id, &self.key, self.env.now(), change).unwrap();
        self.roster.accept(&bytes).unwrap();
        self.entries.push(bytes);
    }
}

fn begin() -> (Writing, ReaderKey) {
    let env = SeededEnv(AtomicU64::new(0));
    let (key, reader, id) = (SigningKey::draw(&env), ReaderKey::draw(&env), UserId([7; 16]));
    let founder = User { id, name: "ann".into(), signing: key.verifying_key(), reader: reader.public() };
    let (roster, first) = Roster::found(founder, &key, env.now()).unwrap();
    (Writing { env, key, id, roster, entries: vec![first] }, reader)
}

fn secrets(vault: VaultId, env: &SeededEnv) -> NamespaceSecrets {
    NamespaceSecrets {
        vault,
        namespace: NamespaceId(1),
        epoch: 1,
        epoch_key: draw(env),
        id_key: draw(env),
        cut_key: draw(env),
        directory_key: draw(env),
        name_key: draw(env),
    }
}

#[test]
#[ignore = "writes new vectors: a change of the format"]
fn write_the_frozen_vault() {
    let (mut writing, reader) = begin();
    let machine = SigningKey::draw(&writing.env);
    writing.say(Change::AddMachine {
        machine: MachineId([8; 16]),
        tag: MachineTag(0x2a_bcde),
        name: "laptop".into(),
        signing: machine.verifying_key(),
        reader: None,
    });
    let settings = NamespaceSettings { compression: Compression::Zstd(1) };
    writing.say(Change::AddNamespace { namespace: NamespaceId(1), name: "main".into(), settings });
    let secrets = secrets(writing.roster.vault(), &writing.env);
    writing.say(writing.roster.wrap_epoch(&secrets, &writing.env).unwrap());
    writing.say(Change::Other { kind: 128, body: Box::new([1, 2, 3]) });
    let payload = SlotPayload {
        user: writing.id,
        signing: SigningKey::from_seed(writing.key.seed().duplicate()),
        reader,
        vault: writing.roster.vault(),
        roster_len_min: ENTRIES as u64,
        roster_key: draw(&writing.env),
    };
    let (password, phrase) = ("correct horse", RecoveryPhrase::draw(&writing.env));
    let slots = [UnlockSecret::Password(password.as_bytes()), UnlockSecret::Phrase(&phrase)].map(|secret| {
        ListedSlot::Known(Slot::seal(&payload, secret, KdfParams::FLOOR, &writing.env).unwrap().into())
    });
    let header = Header::new(1, payload.vault, slots.into()).unwrap().encode();
    writing.say(Change::Header { bytes: header.as_slice().into() });
    let keys = RosterKeys::derive(&payload.roster_key, payload.vault);
    let last = ENTRIES as u64 - 1;
    let object = keys.seal(last, &writing.entries[last as usize], &writing.env).unwrap();

    let mut text = String::from("# A vault of format 1. Written once; never changes.\n");
    let mut line = |name: &str, value: &str| writeln!(text, "{name}: {value}").unwrap();
    line("password", password);
    line("phrase", &phrase.words());
    line("vault", &HEXLOWER.encode(&payload.vault.0));
    line("machine tag", &0x2a_bcde.to_string());
    line("epoch key", &HEXLOWER.encode(secrets.epoch_key.expose()));
    line("name key", &HEXLOWER.encode(secrets.name_key.expose()));
    line("object name", &keys.name(last));
    line("header", &HEXLOWER.encode(&header));
    for (index, entry) in writing.entries.iter().enumerate() {
        line(&format!("entry {index}"), &HEXLOWER.encode(entry));
    }
    line("object", &HEXLOWER.encode(&object));
    std::fs::write(path("valid.txt"), text).unwrap();
}
