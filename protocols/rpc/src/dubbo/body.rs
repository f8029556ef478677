//! The body of a call and of its result in hessian2 (`DecodeableRpcInvocation`, `DecodeableRpcResult`).

use std::ops::Range;

use ringway_api::Headers;
use ringway_hessian2::{Reader, Text, decode, write_string};

use super::Dubbo;
use crate::{CodecError, Target, rewrite};

/// Attachments that name the service besides the path: Dubbo's clients send both, and its servers believe them.
const SERVICE: [&str; 2] = ["interface", "path"];

/// A call: Dubbo's version, path, version, method, types of the arguments; then the arguments; then the attachments.
pub(super) struct Request<'a> {
    pub(super) path: &'a [u8],
    pub(super) version: &'a [u8],
    pub(super) method: &'a [u8],
    /// Where path and method stand.
    names: [Range<usize>; 2],
    arguments: usize,
    reader: Reader<'a>,
}

/// The result of a call: what kind it is, the value or what was thrown, and maybe attachments.
pub(super) struct Response<'a> {
    kind: u8,
    reader: Reader<'a>,
}

/// An attachment.
#[derive(Debug)]
pub(super) struct Entry {
    /// All of it.
    range: Range<usize>,
    /// Its name and value, if they are strings that lie in one piece.
    pub(super) name: Option<Range<usize>>,
    pub(super) value: Option<Range<usize>>,
}

impl<'a> Request<'a> {
    /// Reads what stands in front of the arguments.
    pub(super) fn read(bytes: &'a [u8], at: usize) -> Result<Self, CodecError> {
        let mut reader = Reader::skipping(bytes, at);
        let mut text = || {
            let begin = reader.position();
            let text = match reader.text()? {
                Some(Text::Plain(range)) => bytes.get(range).unwrap_or_default(),
                Some(Text::Null) => &[],
                Some(Text::Chunked) | None => return Err(CodecError::malformed("dubbo_malformed_call")),
            };
            Ok((text, begin..reader.position()))
        };
        let (_dubbo, path, version, method, types) = (text()?, text()?, text()?, text()?, text()?);
        let names = [path.1, method.1];
        Ok(Self { path: path.0, version: version.0, method: method.0, names, arguments: count(types.0)?, reader })
    }

    /// Reads the attachments.
    pub(super) fn attachments(mut self, bytes: &[u8], found: impl FnMut(Entry)) -> Result<(), CodecError> {
        self.skip_arguments()?;
        // Very old clients have none.
        if self.reader.position() == bytes.len() {
            return Ok(());
        }
        map(&mut self.reader, found)
    }

    /// Writes the call with the attachments that `headers` has, to `target` if there is one. `seen`: the fields are what
    /// these attachments became.
    pub(super) fn edit(
        mut self,
        bytes: &[u8],
        headers: &Headers,
        target: Option<&Target>,
        seen: bool,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        self.skip_arguments()?;
        let begin = self.reader.position();
        let mut entries = Vec::new();
        if begin < bytes.len() {
            map(&mut self.reader, |entry| entries.push(entry))?;
        }
        let Some(target) = target else {
            out.extend_from_slice(bytes.get(..begin).unwrap_or_default());
            attachments(bytes, &entries, headers, seen, out);
            return Ok(());
        };
        let mut headers = headers.clone();
        let [path, method] = self.names.clone();
        let service = headers.first("interface").filter(|text| !text.is_empty()).unwrap_or(self.path);
        let mut at = 0;
        if target.service != service {
            for name in SERVICE.iter().filter(|_| !seen) {
                // To be renamed with what it says.
                headers.set(name, b"").map_err(|_| no_text())?;
            }
            target.rename(&mut headers, &SERVICE)?;
            out.extend_from_slice(bytes.get(..path.start).unwrap_or_default());
            write_string(std::str::from_utf8(&target.service).map_err(|_| no_text())?, out);
            at = path.end;
        }
        out.extend_from_slice(bytes.get(at..method.start).unwrap_or_default());
        write_string(std::str::from_utf8(&target.method).map_err(|_| no_text())?, out);
        out.extend_from_slice(bytes.get(method.end..begin).unwrap_or_default());
        attachments(bytes, &entries, &headers, seen, out);
        Ok(())
    }

    fn skip_arguments(&mut self) -> Result<(), CodecError> {
        Ok((0..self.arguments).try_for_each(|_| self.reader.skip())?)
    }
}

impl<'a> Response<'a> {
    /// Reads what kind of result it is.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, CodecError> {
        match bytes.first() {
            Some(kind @ 0x90..=0x95) => Ok(Self { kind: kind - 0x90, reader: Reader::skipping(bytes, 1) }),
            _ => Err(CodecError::malformed("dubbo_malformed_result")),
        }
    }

    /// Writes the result with the attachments it has, and those that `headers` has besides.
    pub(super) fn edit(mut self, bytes: &[u8], headers: &Headers, out: &mut Vec<u8>) -> Result<(), CodecError> {
        // 2 and 5 are null, without a value.
        if self.kind % 3 != 2 {
            self.reader.skip()?;
        }
        let begin = self.reader.position();
        let mut entries = Vec::new();
        if self.kind >= 3 {
            map(&mut self.reader, |entry| entries.push(entry))?;
        }
        out.push(0x90 + self.kind % 3 + 3);
        out.extend_from_slice(bytes.get(1..begin).unwrap_or_default());
        attachments(bytes, &entries, headers, false, out);
        Ok(())
    }
}

fn no_text() -> CodecError {
    CodecError::unsupported("dubbo_name_is_no_text")
}

/// The attachments as a map.
fn attachments(bytes: &[u8], entries: &[Entry], headers: &Headers, seen: bool, out: &mut Vec<u8>) {
    let text = |range: &Option<Range<usize>>| range.clone().and_then(|range| bytes.get(range));
    out.push(b'H');
    let mut before = Vec::new();
    for entry in entries {
        match (text(&entry.name), text(&entry.value)) {
            (Some(name), Some(value)) if seen => before.push((name, Some(value))),
            // Where none are seen, what is there gives way to what is new.
            (Some(name), _) if !seen && headers.all(std::str::from_utf8(name).unwrap_or_default()).next().is_some() => {
            }
            _ => out.extend_from_slice(bytes.get(entry.range.clone()).unwrap_or_default()),
        }
    }
    rewrite::<Dubbo>(headers, before, |name, value| {
        // What was an attachment before may hold surrogates, as Java writes them.
        for text in [name, value.unwrap_or_default()] {
            write_string(&decode(text).unwrap_or_else(|_| String::from_utf8_lossy(text)), out);
        }
    });
    out.push(b'Z');
}

fn map(reader: &mut Reader<'_>, mut found: impl FnMut(Entry)) -> Result<(), CodecError> {
    if !reader.map()? {
        return match reader.text()? {
            Some(Text::Null) => Ok(()),
            _ => Err(CodecError::malformed("dubbo_malformed_attachments")),
        };
    }
    while !reader.end()? {
        let begin = reader.position();
        let name = plain(reader)?;
        let value = plain(reader)?;
        found(Entry { range: begin..reader.position(), name, value });
    }
    Ok(())
}

/// The place of a string in one piece; other values are skipped.
fn plain(reader: &mut Reader<'_>) -> Result<Option<Range<usize>>, CodecError> {
    Ok(match reader.text()? {
        Some(Text::Plain(range)) => Some(range),
        Some(Text::Null | Text::Chunked) => None,
        None => {
            reader.skip()?;
            None
        }
    })
}

/// How many arguments there are, from their types as the JVM writes them ("Field Descriptors" of its specification).
fn count(types: &[u8]) -> Result<usize, CodecError> {
    let malformed = CodecError::malformed("dubbo_malformed_types");
    let (mut count, mut rest) = (0, types.iter());
    while let Some(kind) = rest.next() {
        match kind {
            b'[' => continue,
            b'V' | b'Z' | b'B' | b'C' | b'D' | b'F' | b'I' | b'J' | b'S' => {}
            b'L' => {
                rest.find(|byte| **byte == b';').ok_or(malformed)?;
            }
            _ => return Err(malformed),
        }
        count += 1;
    }
    Ok(count)
}
