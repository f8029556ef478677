//! `ringway`: a modular network runtime and sidecar proxy on io_uring.

#![forbid(unsafe_code)]

mod admin;
mod catalog;
mod cli;
mod control;
mod demo;
mod explain;
mod names;
mod notify;
mod rlimits;
mod run;
mod security;
mod tapping;
mod top;
mod watched;
mod workers;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::Cli::parse().execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringway: {error:#}");
            ExitCode::FAILURE
        }
    }
}
