//! JSON values by meaning: MySQL stores a binary form and writes it its own way, MariaDB keeps the text.
//!
//! Blanks, the order of keys and the spelling of a number do not matter. Of a key given twice the last counts, as in
//! MySQL. Numbers are compared exactly when both are integers, else as doubles, which is what MySQL keeps.

use std::fmt::Write as _;

use serde_json::Value;

/// Whether two texts are the same JSON value. What is not JSON is compared as text.
pub(super) fn is_equal(a: &[u8], b: &[u8]) -> bool {
    a == b || canonical(a) == canonical(b)
}

/// A text that is the same for the same value.
pub(super) fn canonical(text: &[u8]) -> Vec<u8> {
    match serde_json::from_slice::<Value>(text) {
        Ok(value) => {
            let mut out = String::with_capacity(text.len());
            write(&value, &mut out);
            out.into_bytes()
        }
        Err(_) => text.to_vec(),
    }
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Number(number) => {
            // `1` and `1.0` are the same number; -0 is 0. Writing to a String cannot fail.
            let _ = match (number.as_i64(), number.as_u64(), number.as_f64()) {
                (Some(integer), _, _) => write!(out, "{integer}"),
                (_, Some(integer), _) => write!(out, "{integer}"),
                (_, _, Some(double)) if double.fract() == 0.0 && double.abs() < 9.0e15 => {
                    write!(out, "{}", double as i64)
                }
                (_, _, Some(double)) => write!(out, "{double:e}"),
                _ => write!(out, "{number}"),
            };
        }
        Value::String(text) => out.push_str(&Value::from(text.as_str()).to_string()),
        Value::Array(items) => {
            out.push('[');
            for item in items {
                write(item, out);
                out.push(',');
            }
            out.push(']');
        }
        Value::Object(entries) => {
            let mut sorted: Vec<(&String, &Value)> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (key, item) in sorted {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(item, out);
                out.push(',');
            }
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_matter_and_values_do() {
        for (a, b, equal) in [
            (r#"{"a":1,"b":[1,2]}"#, r#"{"b": [1, 2], "a": 1}"#, true),
            (r#"{"a":1,"a":2}"#, r#"{"a": 2}"#, true),
            ("1.0", "1", true),
            ("1e2", "100.0", true),
            ("-0.0", "0", true),
            ("0.1", "1e-1", true),
            (r#""é\/""#, r#""é/""#, true),
            ("18446744073709551615", "18446744073709551614", false),
            ("[1,2]", "[2,1]", false),
            ("[1,2]", "[12]", false),
            (r#""1""#, "1", false),
            ("null", r#""null""#, false),
            (r#"{"a":null}"#, "{}", false),
            ("not json", "not  json", false),
            ("not json", "not json", true),
        ] {
            assert_eq!(is_equal(a.as_bytes(), b.as_bytes()), equal, "{a} {b}");
        }
    }
}
