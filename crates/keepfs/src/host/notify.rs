//! systemd's readiness protocol: datagrams of `KEY=value` lines to the socket it names. Silent without systemd.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Where the service manager listens, if there is one.
pub(crate) struct Notify(Option<(UnixDatagram, SocketAddr)>);

impl Notify {
    /// Reads `NOTIFY_SOCKET`.
    pub(crate) fn from_environment() -> Self {
        Self(std::env::var_os("NOTIFY_SOCKET").and_then(|name| Self::open(&name.into_vec())))
    }

    fn open(name: &[u8]) -> Option<(UnixDatagram, SocketAddr)> {
        let address = match name.strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name).ok()?,
            None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name)).ok()?,
        };
        Some((UnixDatagram::unbound().ok()?, address))
    }

    /// Serving; `status` is shown by `systemctl status`.
    pub(crate) fn ready(&self, status: &str) {
        self.send(&format!("READY=1\nSTATUS={status}\n"));
    }

    /// Ending.
    pub(crate) fn stopping(&self, status: &str) {
        self.send(&format!("STOPPING=1\nSTATUS={status}\n"));
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.0 {
            // The service manager's own timeout tells if this did not arrive; the mount works all the same.
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hear(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let count = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    }

    #[test]
    fn readiness_arrives_at_paths_and_abstract_names() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        Notify(Notify::open(path.as_os_str().as_bytes())).ready("mounted");
        assert_eq!(hear(&socket), "READY=1\nSTATUS=mounted\n");

        let name = format!("keepfs-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(name.as_bytes()).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        Notify(Notify::open(format!("@{name}").as_bytes())).stopping("flushing");
        assert_eq!(hear(&socket), "STOPPING=1\nSTATUS=flushing\n");
    }

    #[test]
    fn no_service_manager_is_no_trouble() {
        Notify(None).ready("x");
        assert!(
            Notify::open(b"").is_none_or(|(socket, address)| socket.send_to_addr(b"x", &address).is_err())
        );
    }
}
