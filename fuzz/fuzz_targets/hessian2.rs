//! hessian2: any bytes are read or refused; who skips comes to the same end; what was read can be written and read again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_hessian2::{Reader, Writer};

fuzz_target!(|bytes: &[u8]| {
    let (mut reader, mut skipping) = (Reader::new(bytes, 0), Reader::skipping(bytes, 0));
    while let Ok(value) = reader.value() {
        assert_eq!(skipping.skip(), Ok(()));
        assert_eq!(skipping.position(), reader.position());
        let (mut once, mut twice) = (Vec::new(), Vec::new());
        Writer::new(&mut once).value(&value);
        let again = Reader::new(&once, 0).value().expect("what was written is read");
        Writer::new(&mut twice).value(&again);
        assert_eq!(once, twice);
    }
});
