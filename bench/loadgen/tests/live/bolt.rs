//! bolt's calls against a small server that reads frames by their lengths.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::server::spawn;
use crate::{bench, good};

/// Answers each call with its content, and those of `/demo.Echo:1.0/refuse` with status 6 (server busy).
async fn serve(mut stream: TcpStream) {
    let mut head = [0; 22];
    while stream.read_exact(&mut head).await.is_ok() {
        assert_eq!(head[..5], [1, 1, 0, 1, 1], "version 1, a request, an RPC, version 1");
        let length = |at: usize| usize::from(u16::from_be_bytes([head[at], head[at + 1]]));
        let content = u32::from_be_bytes(head[18..].try_into().unwrap()) as usize;
        let (class, fields) = (length(14), length(16));
        let mut rest = vec![0; class + fields + content];
        stream.read_exact(&mut rest).await.unwrap();
        let (class, rest) = rest.split_at(class);
        let (fields, content) = rest.split_at(fields);
        assert_eq!(class, b"com.alipay.sofa.rpc.core.request.SofaRequest");
        let fields = String::from_utf8_lossy(fields);
        assert!(fields.contains("demo.Echo:1.0") && fields.contains("trace"), "{fields}");
        let status = if fields.contains("refuse") { 6 } else { 0 };
        let mut answer = vec![1, 0, 0, 2, 1];
        answer.extend_from_slice(&head[5..9]);
        answer.extend_from_slice(&[1, 0, status, 0, 3, 0, 0]);
        answer.extend_from_slice(&(content.len() as u32).to_be_bytes());
        answer.extend_from_slice(b"any");
        answer.extend_from_slice(content);
        if stream.write_all(&answer).await.is_err() {
            return;
        }
    }
}

#[test]
fn calls_are_answered_and_refused() {
    let address = spawn(serve);
    let url = format!("bolt://{address}/demo.Echo:1.0/echo");
    let report = good(&url, &["-m", "8", "--body", "0123456789", "-H", "trace: 1"]);
    let (bytes, requests) = (report["received_bytes"].as_u64().unwrap(), report["requests"].as_u64().unwrap());
    assert!(bytes >= requests * 33, "{bytes} bytes of {requests} answers");
    let url = format!("bolt://{address}/demo.Echo:1.0/refuse");
    let (code, report, _) = bench(&url, &["-r", "50", "-H", "trace: 1", "--fail-if", "errors>0"]);
    assert_eq!((code, &report["errors"]["status 6"]), (2, &20.into()));
}
