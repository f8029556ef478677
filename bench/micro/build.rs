//! Notes which compiler builds the instruction counts: its numbers are its own.

use std::env::{VarError, var};
use std::error::Error;
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let output = Command::new(var("RUSTC")?).arg("--version").output()?;
    let flags = match var("CARGO_ENCODED_RUSTFLAGS") {
        Err(VarError::NotPresent) => String::new(),
        flags => flags?.replace('\u{1f}', " "),
    };
    let built_by = format!("{} {flags}", String::from_utf8(output.stdout)?.trim());
    println!("cargo::rustc-env=RINGWAY_BUILT_BY={}", built_by.trim());
    Ok(())
}
