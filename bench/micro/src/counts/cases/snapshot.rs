//! A configuration becomes a snapshot.

use std::fmt::Write;

use anyhow::{Result, anyhow};
use ringway_config::compile;

use super::measured;
use super::world::CATALOG;

/// As programs write it: JSON. Reading YAML would be most of it otherwise.
pub(super) fn build(times: u64) -> Result<()> {
    let mut hosts = String::new();
    for host in 0..10 {
        write!(hosts, r#"{}{{"domains":["service-{host}.example.com"],"routes":["#, if host == 0 { "" } else { "," })?;
        for route in 0..10 {
            let end = if route == 9 { "" } else { "," };
            write!(hosts, r#"{{"match":{{"prefix":"/v{route}/"}},"route":{{"cluster":"app","timeout":"5s"}}}}{end}"#)?;
        }
        hosts += "]}";
    }
    let text = format!(
        r#"{{"listeners":[{{"name":"web","address":"10.0.0.1:80","protocol":"http1","routes":{{"virtual_hosts":[{hosts}]}}}}],
"clusters":[{{"name":"app","endpoints":["10.0.1.1:80","10.0.1.2:80"]}}]}}"#
    );
    let snapshot = || compile("case", &text, &CATALOG, None);
    snapshot().map_err(|error| anyhow!("{error}"))?;
    measured(times, || snapshot().is_ok());
    Ok(())
}
