//! What JSON and text become, by the type of the parameter.

use http::Method;
use ringway_api::Body;
use ringway_hessian2::Value;
use serde_json::{Value as Json, json};

use super::{call, full, options, refused, request};

/// The argument that this content becomes.
fn argument(kind: &str, content: &str) -> Result<(String, Value), (u16, String)> {
    let options = options(&json!([{ "type": kind, "from": "body" }]));
    let ask = || request(Method::POST, "/call", full(content));
    match call(&options, ask()) {
        Ok(mut call) => {
            assert_eq!(call.arguments.len(), 1);
            Ok((call.types, call.arguments.remove(0)))
        }
        Err(_) => Err(refused(&options, ask())),
    }
}

fn list(name: Option<&str>, items: Vec<Value>) -> Value {
    Value::List { type_name: name.map(Into::into), items }
}

fn map(name: Option<&str>, entries: Vec<(Value, Value)>) -> Value {
    Value::Map { type_name: name.map(Into::into), entries }
}

#[test]
fn values_are_written_as_their_type_says() {
    let int = Value::Int;
    let object = || map(None, vec![("a".into(), int(1)), ("b".into(), list(None, vec![Value::Null]))]);
    for (kind, content, descriptor, value) in [
        ("boolean", "true", "Z", Value::Bool(true)),
        ("java.lang.Boolean", "null", "Ljava/lang/Boolean;", Value::Null),
        ("byte", "-128", "B", int(-128)),
        ("java.lang.Byte", "127", "Ljava/lang/Byte;", int(127)),
        ("short", "32767", "S", int(32767)),
        ("java.lang.Short", "-32768", "Ljava/lang/Short;", int(-32768)),
        ("int", "-2147483648", "I", int(i32::MIN)),
        ("java.lang.Integer", "2147483647", "Ljava/lang/Integer;", int(i32::MAX)),
        ("long", "1", "J", Value::Long(1)),
        ("java.lang.Long", "9223372036854775807", "Ljava/lang/Long;", Value::Long(i64::MAX)),
        ("float", "1", "F", Value::Double(1.0)),
        ("java.lang.Float", "3.4e38", "Ljava/lang/Float;", Value::Double(3.4e38)),
        ("double", "1e308", "D", Value::Double(1e308)),
        ("java.lang.Double", "-0.5", "Ljava/lang/Double;", Value::Double(-0.5)),
        ("char", r#""\u20ac""#, "C", "\u{20ac}".into()),
        ("java.lang.Character", r#""x""#, "Ljava/lang/Character;", "x".into()),
        ("java.lang.String", r#""\ud83d\ude00""#, "Ljava/lang/String;", "\u{1f600}".into()),
        ("java.lang.String", "null", "Ljava/lang/String;", Value::Null),
        ("java.util.Date", "-5", "Ljava/util/Date;", Value::Date(-5)),
        ("java.util.Date", r#""1970-01-01T01:00:01+01:00""#, "Ljava/util/Date;", Value::Date(1000)),
        ("byte[]", r#""AQI=""#, "[B", Value::Binary(vec![1, 2])),
        ("char[]", r#""ab""#, "[C", "ab".into()),
        ("int[]", "[1, 2]", "[I", list(Some("[int"), vec![int(1), int(2)])),
        ("long[][]", "[[1]]", "[[J", list(Some("[[long"), vec![list(Some("[long"), vec![Value::Long(1)])])),
        ("byte[][]", r#"["AQ=="]"#, "[[B", list(Some("[[byte"), vec![Value::Binary(vec![1])])),
        (
            "java.lang.String[]",
            r#"["a", null]"#,
            "[Ljava/lang/String;",
            list(Some("[string"), vec!["a".into(), Value::Null]),
        ),
        (
            "java.lang.Object[]",
            "[1, 2.5]",
            "[Ljava/lang/Object;",
            list(Some("[object"), vec![int(1), Value::Double(2.5)]),
        ),
        ("com.x.User[]", "[{}]", "[Lcom/x/User;", list(Some("[com.x.User"), vec![map(Some("com.x.User"), vec![])])),
        ("java.util.List", "[1, 4294967296]", "Ljava/util/List;", list(None, vec![int(1), Value::Long(1 << 32)])),
        ("java.util.List<java.lang.Long>", "[1]", "Ljava/util/List;", list(None, vec![Value::Long(1)])),
        ("java.util.Set<java.lang.Byte>", "[1]", "Ljava/util/Set;", list(Some("java.util.HashSet"), vec![int(1)])),
        ("java.util.Map", r#"{"a": 1, "b": [null]}"#, "Ljava/util/Map;", object()),
        (
            "java.util.TreeMap< java.lang.Integer,java.lang.Long[] >",
            r#"{"-1": [2]}"#,
            "Ljava/util/TreeMap;",
            map(Some("java.util.TreeMap"), vec![(int(-1), list(Some("[java.lang.Long"), vec![Value::Long(2)]))]),
        ),
        ("java.lang.Object", r#"{"a": 1, "b": [null]}"#, "Ljava/lang/Object;", object()),
        ("java.lang.Object", "false", "Ljava/lang/Object;", Value::Bool(false)),
        (
            "com.x.Outer$User",
            r#"{"a": 1}"#,
            "Lcom/x/Outer$User;",
            map(Some("com.x.Outer$User"), vec![("a".into(), int(1))]),
        ),
    ] {
        assert_eq!(argument(kind, content), Ok((descriptor.into(), value)), "{kind} of {content}");
    }
}

#[test]
fn what_a_type_cannot_hold_is_refused() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let (deep, deeper) = (nested(70), nested(500));
    for (kind, content, says) in [
        ("boolean", "1", "an integer where boolean is needed"),
        ("boolean", r#""true""#, "a string where boolean is needed"),
        ("int", "null", "null where integer of 32 bits is needed"),
        ("int", "2147483648", "an integer out of its range where integer of 32 bits is needed"),
        ("byte", "128", "out of its range"),
        ("byte", "-129", "out of its range"),
        ("short", "32768", "out of its range"),
        ("int", "1.0", "a number that is no 64-bit integer where"),
        ("int", r#""1""#, "a string where"),
        ("long", "9223372036854775808", "a number that is no 64-bit integer where integer of 64 bits"),
        ("java.lang.Long", "1e3", "a number that is no 64-bit integer"),
        ("float", "3.5e38", "a number out of its range where number of single precision"),
        ("double", "1e999", "no JSON"),
        ("double", "NaN", "no JSON"),
        ("char", r#""""#, "a longer or shorter text"),
        ("char", r#""ab""#, "a longer or shorter text"),
        ("char", r#""\ud83d\ude00""#, "a longer or shorter text"),
        ("java.lang.String", "1", "an integer where string is needed"),
        ("java.lang.String", r#""\ud83d""#, "no JSON"),
        ("java.util.Date", r#""tomorrow""#, "a text that is no time"),
        ("java.util.Date", "1.5", "where time"),
        ("byte[]", r#""*""#, "a text that is no string of base64"),
        ("int[]", "[1, null]", "element 1: null where"),
        ("int[]", "{}", "an object where array is needed"),
        ("java.util.Map", "[]", "an array where object is needed"),
        (
            "java.util.Map<java.lang.Integer, java.lang.Object>",
            r#"{"1": 1, "x": 1}"#,
            "name of member 1: a text that is no integer",
        ),
        ("java.util.Map<java.lang.String, int[]>", r#"{"x": [[]]}"#, "member 0: element 0: an array where"),
        ("com.x.User", r#""RED""#, "a string where object is needed"),
        (
            "com.x.User",
            r#"{"a": 9223372036854775808}"#,
            "a number out of the range of those whose type is not declared",
        ),
        ("java.lang.Object", r#"{"a": 1, "\u0061": 2}"#, "a name comes twice in one object"),
        ("java.lang.Object", &deep, "more than 60 arrays and objects"),
        ("java.util.List", &deep, "more than 60 arrays and objects"),
        ("java.lang.Object", &deeper, "no JSON"),
        ("int", "", "parameter 1 (int, from body): missing"),
        ("int", "1 2", "no JSON"),
        ("int", "\u{feff}1", "no JSON"),
    ] {
        let (status, error) = argument(kind, content).unwrap_err();
        assert_eq!(status, 400);
        assert!(error.contains(says), "{kind} of {content}: {error}");
        let start = format!("parameter 1 ({kind}, from body): ");
        let start = start.replace("< java.lang.Integer,", "<java.lang.Integer, ");
        assert!(error.starts_with(&start) || error.starts_with("the content, line "), "{error}");
    }
}

#[test]
fn members_of_the_content_are_arguments() {
    let options = options(&json!([
        { "type": "int", "from": "body:a" },
        { "type": "java.lang.String", "from": "body:b", "optional": true },
        { "type": "java.lang.Object", "from": "body:c", "optional": true },
    ]));
    let ask = |content: &str| call(&options, request(Method::POST, "/call", full(content))).map(|call| call.arguments);
    let wrong = |content: &str| refused(&options, request(Method::POST, "/call", full(content))).1;
    assert_eq!(ask(r#"{"c": [], "b": "x", "a": 1}"#).unwrap(), [Value::Int(1), "x".into(), Value::list(vec![])]);
    assert_eq!(ask(r#"{"other": 0, "a": 1}"#).unwrap(), [Value::Int(1), Value::Null, Value::Null]);
    assert_eq!(wrong(r#"{"b": "x"}"#), "parameter 1 (int, from body:a): missing");
    assert_eq!(
        wrong(r#"{"a": 1, "b": 1}"#),
        "parameter 2 (java.lang.String, from body:b): an integer where string is needed"
    );
    assert_eq!(wrong("[1]"), "the content is no JSON object");
    assert_eq!(wrong(""), "parameter 1 (int, from body:a): missing");
}

#[test]
fn paths_and_queries_are_arguments() {
    let ask = |kind: &str, path: &str| -> Result<Value, (u16, Json)> {
        let options = json!({ "mappings": [{
            "path": "/x/{it}", "http_method": "GET", "service": "s.S", "method": "m", "parameters": [
                { "type": kind, "from": if path.contains('?') { "query:it" } else { "path:it" } },
            ],
        }] });
        call(&options, request(Method::GET, path, Body::Empty)).map(|mut call| call.arguments.remove(0))
    };
    for (kind, path, value) in [
        ("int", "/x/-5", Value::Int(-5)),
        ("long", "/x/5?it=6", Value::Long(6)),
        ("boolean", "/x/true", Value::Bool(true)),
        ("double", "/x/1.5e3", Value::Double(1500.0)),
        ("char", "/x/%C3%A9", "\u{e9}".into()),
        ("java.lang.String", "/x/a+b", "a+b".into()),
        ("java.lang.String", "/x/_?it=a+b%2B", "a b+".into()),
        ("java.lang.String", "/x/_?it", "".into()),
        ("java.lang.String", "/x/_?&%69t=a=b&", "a=b".into()),
        ("java.util.Date", "/x/1000", Value::Date(1000)),
        ("java.util.Date", "/x/1970-01-01T00:00:01Z", Value::Date(1000)),
        ("byte[]", "/x/AQI%3D", Value::Binary(vec![1, 2])),
        ("java.lang.Object", "/x/1", "1".into()),
        ("int[]", "/x/_?it=1&other=0&it=2", list(Some("[int"), vec![Value::Int(1), Value::Int(2)])),
        ("java.util.List<java.lang.Long>", "/x/_?it=1", list(None, vec![Value::Long(1)])),
    ] {
        assert_eq!(ask(kind, path), Ok(value), "{kind} of {path}");
    }
    for (kind, path, says) in [
        ("int", "/x/five", "a text that is no integer of 32 bits"),
        ("int", "/x/+5", "a text that is no integer"),
        ("int", "/x/5.0", "a text that is no integer"),
        ("int", "/x/2147483648", "out of its range"),
        ("boolean", "/x/True", "a text that is no boolean"),
        ("double", "/x/inf", "a text that is no number"),
        ("double", "/x/1.", "a text that is no number"),
        ("double", "/x/1e999", "a number out of its range"),
        ("float", "/x/1e39", "a number out of its range"),
        ("java.lang.String", "/x/%4", "malformed percent-encoding"),
        ("java.lang.String", "/x/%zz", "malformed percent-encoding"),
        ("java.lang.String", "/x/%ff", "malformed percent-encoding"),
        ("int", "/x/_?it=%f", "malformed percent-encoding"),
        ("int", "/x/_?other=1", "missing"),
        ("int", "/x/_?it=1&it=2", "there more than once"),
    ] {
        let (status, document) = ask(kind, path).unwrap_err();
        let error = document["error"].as_str().unwrap();
        assert!(status == 400 && error.contains(says), "{kind} of {path}: {error}");
    }
}
