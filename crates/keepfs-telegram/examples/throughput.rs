//! How fast a store is beside bare connections: `throughput ADDRESS KEY-FILE MIB`, against the local test server.
//!
//! The key in the file is logged in (`issue_key` with a phone number). First the parts of a large file travel over as
//! many bare connections as the store uses, then the store puts and gets an object of the same size.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Instant;

use grammers_mtproto::{mtp, transport};
use grammers_mtsender::{Sender, ServerAddr};
use grammers_tl_types as tl;
use keepfs_store::{ObjectName, PutMode, Store};
use keepfs_telegram::{AuthKey, Endpoint, Machine, OpenWish, Settings, TelegramStore};
use zeroize::Zeroizing;

const PART_LEN: usize = 512 << 10;
const LINKS: usize = 4;

/// A machine whose session names the account of the key.
struct Told(Mutex<Vec<u8>>);

impl Machine for Told {
    fn load_session(&self) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        self.0.lock().map(|bytes| Some(Zeroizing::new(bytes.clone()))).map_err(|error| error.to_string())
    }
    fn save_session(&self, bytes: &[u8]) -> Result<(), String> {
        self.0.lock().map(|mut kept| *kept = bytes.to_vec()).map_err(|error| error.to_string())
    }
    fn remove_session(&self) -> Result<(), String> {
        Ok(())
    }
    fn fill_random(&self, out: &mut [u8]) {
        // Numbers that differ from run to run are all that a measurement needs.
        let seed = Instant::now().elapsed().as_nanos() as u64 ^ std::process::id() as u64;
        for (at, byte) in out.iter_mut().enumerate() {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            *byte = (seed.rotate_left(at as u32 * 7) ^ now.as_nanos() as u64) as u8;
        }
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn bare(address: SocketAddr, key: [u8; 256], parts: i32, bytes: Arc<Vec<u8>>) -> Result<(), Failed> {
    let mut links = tokio::task::JoinSet::new();
    for link in 0..LINKS as i32 {
        let bytes = Arc::clone(&bytes);
        links.spawn(async move {
            let encrypted = mtp::Encrypted::build().compression_threshold(None).finish(key);
            let address = ServerAddr::Tcp { address };
            let mut sender = Sender::connect(transport::Full::new(), encrypted, address).await?;
            for file_part in (0..parts).filter(|part| part % LINKS as i32 == link) {
                let from = file_part as usize * PART_LEN;
                let request = tl::functions::upload::SaveBigFilePart {
                    file_id: 4242,
                    file_part,
                    file_total_parts: parts,
                    bytes: bytes[from..from + PART_LEN].to_vec(),
                };
                sender.invoke(&request).await?;
            }
            Ok::<(), Failed>(())
        });
    }
    while let Some(done) = links.join_next().await {
        done??;
    }
    Ok(())
}

fn main() -> Result<(), Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, key_file, mib] = &arguments[..] else {
        return Err("usage: throughput ADDRESS KEY-FILE MIB".into());
    };
    let (address, mib): (SocketAddr, usize) = (address.parse()?, mib.parse()?);
    let key_bytes = std::fs::read(key_file)?;
    let key = AuthKey::new(&key_bytes).ok_or("the key has not 256 bytes")?;
    let mut content = vec![0_u8; mib << 20];
    let mut state = 88172645463325252_u64;
    for chunk in content.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
    let content = Arc::new(content);
    let rate = |began: Instant| mib as f64 / began.elapsed().as_secs_f64();

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut exposed = [0; 256];
    exposed.copy_from_slice(&key_bytes);
    let began = Instant::now();
    runtime.block_on(bare(address, exposed, (content.len() / PART_LEN) as i32, Arc::clone(&content)))?;
    let bare_rate = rate(began);
    println!("bare connections: {bare_rate:.1} MiB/s up");

    let hex: String = key_bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let session =
        format!("keepfs telegram session 1\napi 17\nhome 2\nuser 1\naddress 2 {address}\nkey 2 {hex}\n");
    let directory = std::env::temp_dir().join(format!("keepfs-throughput-{}", std::process::id()));
    let mut settings = Settings::new(Arc::new(Told(Mutex::new(session.into_bytes()))), directory.clone());
    settings.endpoint = Some(Endpoint::new(address, key));
    let store = TelegramStore::open("throughput", OpenWish { create: true }, settings)?;
    let name = ObjectName::immutable(&"t".repeat(26))?;
    store.delete(&name)?;
    let began = Instant::now();
    store.put(&name, &content, PutMode::Create)?;
    let put = rate(began);
    let began = Instant::now();
    let found = store.get(&name, u64::MAX)?;
    let get = rate(began);
    println!("store: {put:.1} MiB/s up ({:.2} of bare), {get:.1} MiB/s down", put / bare_rate);
    drop(store);
    // What is left of a measurement is in the temporary directory.
    let _ = std::fs::remove_dir_all(directory);
    if found == *content { Ok(()) } else { Err("other bytes came back".into()) }
}
