//! The server as a process of its own: prints where it listens and serves until it is stopped.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use keepfs_tgsim::{Options, PUBLIC_KEY_PEM, Server, listen_for_commands};

/// A local Telegram server for tests. Prints its addresses and its RSA key as one line of JSON, then serves.
#[derive(Parser)]
struct Arguments {
    /// Where clients connect; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Where commands are taken; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    control: SocketAddr,
    /// A directory that keeps the state; without it, the state ends with the server
    #[arg(long)]
    state: Option<PathBuf>,
    /// Numbers of the data centres; the first is home
    #[arg(long, value_delimiter = ',', default_value = "2")]
    data_centres: Vec<i32>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match serve(&arguments) {
        Ok(server) => {
            server.wait();
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("keepfs-tgsim: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(arguments: &Arguments) -> keepfs_tgsim::Result<std::sync::Arc<Server>> {
    let options = Options {
        listen: arguments.listen,
        state: arguments.state.clone(),
        data_centres: arguments.data_centres.clone(),
    };
    let server = Server::start(&options)?;
    let control = listen_for_commands(&server, arguments.control)?;
    let addresses = server.addresses();
    let data_centres: serde_json::Map<String, serde_json::Value> =
        addresses.iter().map(|(dc, address)| (dc.to_string(), address.to_string().into())).collect();
    let greeting = serde_json::json!({
        "address": addresses.first().map(|(_, address)| address.to_string()),
        "data_centres": data_centres,
        "control": control.to_string(),
        "rsa_public_key": PUBLIC_KEY_PEM,
    });
    println!("{greeting}");
    Ok(server)
}
