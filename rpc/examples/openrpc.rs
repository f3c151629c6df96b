//! Prints the OpenRPC document: `cargo run -p cairn-rpc --example openrpc > docs/openrpc.json`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{}", serde_json::to_string_pretty(&cairn_rpc::openrpc())?);
    Ok(())
}
