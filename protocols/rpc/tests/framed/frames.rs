//! bolt's frames by hand, apart from the codec.

pub(crate) fn pairs(pairs: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
    pairs.iter().flat_map(|(name, value)| [text(name), text(value)].concat()).collect()
}

pub(crate) fn request(kind: u8, id: u32, headers: &[(&str, &str)], content: &[u8]) -> Vec<u8> {
    let (class, headers) = (b"com.x.Request", pairs(headers));
    let mut out = vec![1, kind, 0, 1, 1];
    out.extend(id.to_be_bytes());
    out.push(1);
    out.extend(3000_u32.to_be_bytes());
    out.extend((class.len() as u16).to_be_bytes());
    out.extend((headers.len() as u16).to_be_bytes());
    out.extend((content.len() as u32).to_be_bytes());
    [&out[..], class, &headers, content].concat()
}

pub(crate) fn call(id: u32, content: &[u8]) -> Vec<u8> {
    request(1, id, &[("service", "com.x.Echo:1.0"), ("sofa_head_method_name", "say")], content)
}

pub(crate) fn response(id: u32, status: u16, headers: &[(&str, &str)], content: &[u8]) -> Vec<u8> {
    let (class, headers) = (b"com.x.Response", pairs(headers));
    let mut out = vec![1, 0, 0, 2, 1];
    out.extend(id.to_be_bytes());
    out.push(1);
    out.extend(status.to_be_bytes());
    out.extend((class.len() as u16).to_be_bytes());
    out.extend((headers.len() as u16).to_be_bytes());
    out.extend((content.len() as u32).to_be_bytes());
    [&out[..], class, &headers, content].concat()
}

pub(crate) fn heartbeat(id: u32) -> Vec<u8> {
    [&[1, 1, 0, 0, 1][..], &id.to_be_bytes(), &[1], &[0; 12]].concat()
}

pub(crate) fn heartbeat_reply(id: u32) -> Vec<u8> {
    [&[1, 0, 0, 0, 1][..], &id.to_be_bytes(), &[1], &[0; 10]].concat()
}

/// The id of the frame at the front.
pub(crate) fn id(frame: &[u8]) -> u32 {
    u32::from_be_bytes(frame[5..9].try_into().unwrap())
}

/// The same frame under another id.
pub(crate) fn renumbered(frame: &[u8], id: u32) -> Vec<u8> {
    [&frame[..5], &id.to_be_bytes(), &frame[9..]].concat()
}

pub(crate) fn status(frame: &[u8]) -> u16 {
    u16::from_be_bytes(frame[10..12].try_into().unwrap())
}
