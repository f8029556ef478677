use super::*;

/// A small generator: the same numbers every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 ^ self.0 >> 29
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit
    }
}

fn child(random: &mut Random, sampled: bool) -> Child<'static> {
    let trace = u128::from(random.next()) << 64 | u128::from(random.next());
    Child {
        trace: NonZeroU128::new(trace).unwrap(),
        span: SpanId::new(random.next()).unwrap(),
        parent: SpanId::new(random.next()).unwrap(),
        sampled,
        service: "shop",
        endpoint: b"/a/b",
        host: None,
    }
}

fn headers(fields: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in fields {
        headers.append(name, value.as_bytes()).unwrap();
    }
    headers
}

fn extract(name: &str, fields: &[(&str, &str)]) -> Result<Option<Parent>, Malformed> {
    Propagation::named(name).unwrap().extract(&headers(fields))
}

#[test]
fn what_is_told_is_understood() {
    let mut random = Random(1);
    for round in 0..400 {
        for format in PROPAGATIONS {
            let mut child = child(&mut random, round % 2 == 0);
            if round % 3 == 0 {
                // Ids of 64 bits.
                child.trace = NonZeroU128::new(child.trace.get() >> 64).unwrap();
            }
            let mut fields = headers(&[("traceparent", "garbage"), ("b3", "0"), ("sw8", "x"), ("x-b3-sampled", "1")]);
            format.inject(&mut fields, &child);
            let told = format.extract(&fields).unwrap().unwrap();
            assert_eq!(told, Parent { ids: Some((child.trace, child.span)), sampled: Some(child.sampled) });
            format.remove(&mut fields);
            assert_eq!(format.extract(&fields), Ok(None));
        }
    }
}

#[test]
fn nothing_that_comes_from_outside_breaks_a_format() {
    let mut random = Random(2);
    let good = [
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1-05e3ac9a4f6e3b90",
        "1-NzY2LjUxMS4xMg==-c2VnbWVudA==-3-c2VydmljZQ==-aW5zdA==-L2FwcA==-MTI3LjAuMC4xOjgwODA=",
        "0af7651916cd43dd8448eb211c80319c",
    ];
    for _ in 0..20_000 {
        let mut value = good[random.below(good.len())].as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            let at = random.below(value.len().max(1));
            match random.below(4) {
                0 => value.truncate(at),
                1 => value.insert(at.min(value.len()), b'-'),
                2 => value.extend_from_within(at.min(value.len())..),
                _ => {
                    if let Some(byte) = value.get_mut(at) {
                        *byte = 0x21 + (random.next() % 0x5e) as u8;
                    }
                }
            }
        }
        for format in PROPAGATIONS {
            for name in format.fields {
                let mut fields = Headers::new();
                fields.append(name, &value).unwrap();
                if random.below(2) == 0 {
                    fields.append("x-b3-traceid", &value).unwrap();
                }
                // Whatever it is: it is read or refused, and what goes out is well-formed.
                let _read_or_refused = format.extract(&fields);
                let child = child(&mut random, true);
                format.inject(&mut fields, &child);
                assert_eq!(format.extract(&fields).unwrap().unwrap().ids, Some((child.trace, child.span)));
            }
        }
    }
}

#[test]
fn w3c_follows_the_recommendation() {
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let read = |value: &str| extract("w3c", &[("traceparent", value)]);
    let parent = read(good).unwrap().unwrap();
    assert_eq!(parent.ids.unwrap().0.get(), 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
    assert_eq!(parent.sampled, Some(true));
    assert_eq!(read(&good.replace("-01", "-02")).unwrap().unwrap().sampled, Some(false));
    // A later version, with more behind it.
    assert!(read(&format!("{}-what-ever", good.replacen("00", "cc", 1))).is_ok());
    for wrong in [
        "",
        "00",
        &format!("{good}-more"),
        &format!("{good}."),
        &good.replacen("00", "ff", 1),
        &good.to_uppercase(),
        &good.replace("0af7651916cd43dd8448eb211c80319c", "00000000000000000000000000000000"),
        &good.replace("b7ad6b7169203331", "0000000000000000"),
    ] {
        assert_eq!(read(wrong), Err(Malformed), "{wrong}");
    }
    assert_eq!(extract("w3c", &[("traceparent", good), ("traceparent", good)]), Err(Malformed));
}

#[test]
fn a_state_goes_on_with_its_trace_alone() {
    let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let w3c = Propagation::named("w3c").unwrap();
    let mut fields = headers(&[("traceparent", good), ("tracestate", "a=b")]);
    let mut child = child(&mut Random(3), true);
    child.trace = NonZeroU128::new(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c).unwrap();
    w3c.inject(&mut fields, &child);
    assert_eq!(fields.first("tracestate"), Some(&b"a=b"[..]));
    child.trace = NonZeroU128::MIN;
    w3c.inject(&mut fields, &child);
    assert_eq!(fields.first("tracestate"), None);
}

#[test]
fn b3_knows_decisions_without_ids_and_debugging() {
    assert_eq!(extract("b3", &[("b3", "0")]), Ok(Some(Parent { ids: None, sampled: Some(false) })));
    assert_eq!(extract("b3", &[("b3", "d")]).unwrap().unwrap().sampled, Some(true));
    assert_eq!(extract("b3_multi", &[("x-b3-sampled", "1")]).unwrap().unwrap().ids, None);
    let ids = [("X-B3-TraceId", "e457b5a2e4d86bd1"), ("X-B3-SpanId", "05e3ac9a4f6e3b90")];
    let parent = extract("b3_multi", &ids).unwrap().unwrap();
    assert_eq!((parent.ids.unwrap().0.get(), parent.sampled), (0xe457_b5a2_e4d8_6bd1, None), "left open");
    assert_eq!(extract("b3_multi", &ids[..1]), Err(Malformed));
    let mut fields = headers(&[ids[0], ids[1], ("X-B3-Flags", "1")]);
    let format = Propagation::named("b3_multi").unwrap();
    assert_eq!(format.extract(&fields).unwrap().unwrap().sampled, Some(true));
    let mut child = child(&mut Random(4), true);
    format.inject(&mut fields, &child);
    assert_eq!((fields.first("x-b3-flags"), fields.first("x-b3-sampled")), (Some(&b"1"[..]), None));
    child.sampled = false;
    format.inject(&mut fields, &child);
    assert_eq!((fields.first("x-b3-flags"), fields.first("x-b3-sampled")), (None, Some(&b"0"[..])));
    let mut fields = headers(&[("b3", "e457b5a2e4d86bd1-05e3ac9a4f6e3b90-d")]);
    child.sampled = true;
    Propagation::named("b3").unwrap().inject(&mut fields, &child);
    assert!(String::from_utf8_lossy(fields.first("b3").unwrap()).contains("-d-"));
}

#[test]
fn calls_carry_what_formats_write() {
    for name in PROPAGATIONS.iter().flat_map(|format| format.fields) {
        assert!(ringway_api::rpc::TRACE_FIELDS.contains(&&*name.to_ascii_lowercase()), "{name}");
    }
}
