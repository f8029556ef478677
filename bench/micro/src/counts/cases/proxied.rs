//! Requests through a worker, from the client's bytes to its answer, without a kernel. The client, the host and the
//! clock of the test kit are counted with them.

use anyhow::Result;

use super::measured;
use super::world::World;

const REQUEST: &str = "GET /api/v1/items/4711?expand=all HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: bench/1.0\r\n\
                       Accept: */*\r\nOrigin: https://shop.example.com\r\nX-Request-Id: 7f8a0c1e\r\n\r\n";

/// Five that look at every request and let it pass.
const FILTERS: &str = r#"
      - ip_access: { allow: ["10.0.0.0/8"] }
      - cors: { allow_origins: [{ exact: "https://shop.example.com" }] }
      - local_rate_limit: { token_bucket: { max_tokens: 1000000000, fill_interval: 1s } }
      - fault: { abort: { http_status: 503, percentage: 0 } }
      - header_mutation: { request: [{ set: { x-a: b } }], response: [{ remove: server }] }
"#;

pub(super) fn bare(times: u64) -> Result<()> {
    ask("", times)
}

pub(super) fn filtered(times: u64) -> Result<()> {
    ask(&format!("\n    filters:{FILTERS}"), times)
}

fn ask(more: &str, times: u64) -> Result<()> {
    let world = World::new(&format!(
        r#"
listeners:
  - name: web
    address: "10.0.0.1:80"
    protocol: http1
    routes: {{ virtual_hosts: [{{ domains: ["*"], routes: [{{ match: {{ prefix: / }}, route: {{ cluster: app }} }}] }}] }}{more}
clusters: [{{ name: app, endpoints: ["10.0.1.1:80"] }}]
"#
    ))?;
    let mut ask = world.asks(REQUEST)?;
    let mut failed = 0;
    measured(times, || failed += u64::from(ask() == 0));
    anyhow::ensure!(failed == 0, "{failed} of {times} had no 200");
    Ok(())
}
