//! Dubbo2 frames: an echo of 1 KB strings in hessian2.

/// Bytes of the string, each way.
const TEXT: usize = 1024;
/// Calls that a client has under way on each connection; it sends them, and awaits their answers, together.
pub(crate) const CALLS: usize = 16;
const HEADER: usize = 16;
/// What a frame begins with.
pub(crate) const MAGIC: [u8; 2] = [0xda, 0xbb];

/// [`CALLS`] calls.
pub(crate) fn calls() -> Vec<u8> {
    (1..=CALLS as u64).flat_map(call).collect()
}

/// Bytes of the answers to them.
pub(crate) fn answers_len() -> usize {
    CALLS * answer(0).len()
}

/// The answers to the whole calls at the front of `bytes`, and how many bytes these are.
pub(crate) fn answer_all(bytes: &[u8]) -> Result<(usize, Vec<u8>), String> {
    let (mut used, mut answers) = (0, Vec::new());
    while let Some(header) = bytes.get(used..used + HEADER) {
        let (head, length) = header.split_at(12);
        let [0xda, 0xbb, _, _, id @ ..] = head else { return Err("no Dubbo frame".into()) };
        let word = |bytes: &[u8]| bytes.iter().fold(0_u64, |all, byte| all << 8 | u64::from(*byte));
        let len = HEADER + word(length) as usize;
        if bytes.len() < used + len {
            break;
        }
        answers.extend(answer(word(id)));
        used += len;
    }
    Ok((used, answers))
}

fn call(id: u64) -> Vec<u8> {
    let attachments =
        [("path", "com.bench.Echo"), ("interface", "com.bench.Echo"), ("version", "1.0.0"), ("timeout", "3000")];
    let mut body: Vec<u8> =
        ["2.0.2", "com.bench.Echo", "1.0.0", "echo", "Ljava/lang/String;"].iter().flat_map(|t| short(t)).collect();
    body.extend(long());
    body.push(b'H');
    body.extend(attachments.iter().flat_map(|(name, value)| [short(name), short(value)].concat()));
    body.push(b'Z');
    frame(0xc2, 0, id, &body)
}

fn answer(id: u64) -> Vec<u8> {
    let mut body = vec![0x91];
    body.extend(long());
    frame(2, 20, id, &body)
}

fn frame(flags: u8, status: u8, id: u64, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    [&MAGIC[..], &[flags, status], &id.to_be_bytes(), &length, body].concat()
}

/// A string of less than 32 characters.
fn short(text: &str) -> Vec<u8> {
    [&[text.len() as u8], text.as_bytes()].concat()
}

fn long() -> Vec<u8> {
    [b'S'].into_iter().chain((TEXT as u16).to_be_bytes()).chain(super::body(TEXT)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_is_answered_under_its_id() {
        let calls = calls();
        let one = calls.len() / CALLS;
        assert_eq!(answer_all(&calls[..one - 1]), Ok((0, Vec::new())));
        let (used, answers) = answer_all(&calls[..one + 20]).unwrap();
        assert_eq!((used, &answers[..]), (one, &answer(1)[..]));
        let (used, answers) = answer_all(&calls).unwrap();
        assert_eq!((used, answers.len()), (calls.len(), answers_len()));
        assert!(answer_all(&[0; 16]).is_err());
    }
}
