//! Passwords in a user's file: replaced in the text itself, so that everything else stays as it was written.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_saphyr::granit_parser::{Event, Options, Parser};

use super::yaml::{Kind, Node, parse};
use crate::error::CodedError;
use crate::secret::{MASK, SecretKey};

/// The secret fields of an endpoint.
const SECRET_PATHS: [&[&str]; 3] =
    [&["password"], &["security", "ssl-key-bytes"], &["security", "ssl-key-base64"]];

/// The file with secrets and comments about passwords as `******`. `endpoint` is the key of the endpoint.
pub(super) fn mask(text: &str, endpoint: &str) -> Result<String, CodedError> {
    let masked = rewrite(text, endpoint, &|_| Some(MASK.to_owned()))?;
    Ok(mask_comments(&masked))
}

/// The file with its secrets encrypted; what the key decrypts stays as it is.
pub(super) fn encrypt(text: &str, endpoint: &str, key: &SecretKey) -> Result<String, CodedError> {
    rewrite(text, endpoint, &|secret| key.decrypt(secret).is_err().then(|| key.encrypt(secret)))
}

/// The text of a secret: a scalar, or the bytes DM writes as a list of numbers.
pub(super) fn secret_text(node: &Node) -> Option<String> {
    match &node.kind {
        Kind::Null | Kind::Map(_) => None,
        Kind::Scalar { text, .. } => Some(text.clone()),
        Kind::List(items) => {
            let bytes: Option<Vec<u8>> = items.iter().map(|item| item.text()?.parse().ok()).collect();
            String::from_utf8(bytes?).ok()
        }
    }
}

fn find<'a>(node: &'a Arc<Node>, path: &[&str]) -> Option<&'a Arc<Node>> {
    let Some((first, rest)) = path.split_first() else { return Some(node) };
    let Kind::Map(entries) = &node.kind else { return None };
    let (_, value) = entries.iter().find(|(key, _)| key.text() == Some(first))?;
    find(value, rest)
}

/// The secrets of the file that are not empty.
fn secrets<'a>(root: &'a Arc<Node>, endpoint: &str) -> Vec<&'a Arc<Node>> {
    let Some(endpoint) = find(root, &[endpoint]) else { return Vec::new() };
    let found = SECRET_PATHS.iter().filter_map(|path| find(endpoint, path));
    found
        .filter(|node| match &node.kind {
            Kind::Null => false,
            Kind::Scalar { text, .. } => !text.is_empty(),
            Kind::List(_) | Kind::Map(_) => true,
        })
        .collect()
}

fn rewrite(
    text: &str,
    endpoint: &str,
    replace: &dyn Fn(&str) -> Option<String>,
) -> Result<String, CodedError> {
    let root = parse(text)?;
    let mut replaced: BTreeMap<*const Node, String> = BTreeMap::new();
    let mut cuts = BTreeMap::new();
    let mut in_place = true;
    for node in secrets(&root, endpoint) {
        // What cannot be read as a secret is refused elsewhere; here it must not be shown.
        let secret = secret_text(node);
        let new = match &secret {
            Some(secret) => replace(secret),
            None => Some(MASK.to_owned()),
        };
        let Some(new) = new else { continue };
        let is_scalar = matches!(node.kind, Kind::Scalar { .. });
        in_place &= is_scalar && !text.get(node.bytes.clone()).unwrap_or("\n").contains('\n');
        cuts.insert(node.bytes.start, (node.bytes.clone(), new.clone()));
        replaced.insert(Arc::as_ptr(node), new);
    }
    if in_place {
        let mut out = text.to_owned();
        for (range, new) in cuts.values().rev() {
            out.replace_range(range.clone(), &format!("'{}'", new.replace('\'', "''")));
        }
        // The parser's idea of where a value stands is checked, not trusted.
        if holds(&out, &root, endpoint, &replaced) {
            return Ok(out);
        }
    }
    let mut out = String::new();
    write_flow(&root, &replaced, &mut out);
    out.push('\n');
    Ok(out)
}

/// Whether the new text has exactly the replaced values.
fn holds(new: &str, old: &Arc<Node>, endpoint: &str, replaced: &BTreeMap<*const Node, String>) -> bool {
    let Ok(root) = parse(new) else { return false };
    let expected = secrets(old, endpoint);
    let found = secrets(&root, endpoint);
    expected.len() == found.len()
        && expected.iter().zip(found).all(|(old, new)| {
            let wanted = replaced.get(&Arc::as_ptr(old)).map(String::as_str).or_else(|| old.text());
            wanted.is_some() && new.text() == wanted
        })
}

/// The tree in flow style, for texts whose secrets cannot be replaced in place (blocks, lists of bytes).
fn write_flow(node: &Arc<Node>, replaced: &BTreeMap<*const Node, String>, out: &mut String) {
    let quote = |text: &str| serde_json::Value::from(text).to_string();
    if let Some(new) = replaced.get(&Arc::as_ptr(node)) {
        out.push_str(&quote(new));
        return;
    }
    match &node.kind {
        Kind::Null => out.push_str("null"),
        Kind::Scalar { text, plain } => {
            let harmless = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '+' | '-');
            if *plain
                && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.' || c == '/')
                && text.chars().all(harmless)
            {
                out.push_str(text);
            } else {
                out.push_str(&quote(text));
            }
        }
        Kind::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                write_flow(item, replaced, out);
            }
            out.push(']');
        }
        Kind::Map(entries) => {
            out.push('{');
            for (index, (key, value)) in entries.iter().enumerate() {
                out.push_str(if index > 0 { ", " } else { "" });
                out.push_str(&quote(key.text().unwrap_or_default()));
                out.push_str(": ");
                write_flow(value, replaced, out);
            }
            out.push('}');
        }
    }
}

/// Old passwords like to stay behind in comments.
fn mask_comments(text: &str) -> String {
    let mut options = Options::default();
    options.set_emit_comments(true);
    let mut cuts = Vec::new();
    for event in Parser::new_from_str_with_options(text, options) {
        let Ok((Event::Comment(comment, _), span)) = event else { continue };
        let comment = comment.to_lowercase();
        let (Some(start), Some(end)) = (span.start.byte_offset(), span.end.byte_offset()) else { continue };
        if (comment.contains("password") || comment.contains("ssl-key")) && text.get(start..end).is_some() {
            cuts.push(start..end);
        }
    }
    let mut out = text.to_owned();
    for range in cuts.into_iter().rev() {
        out.replace_range(range, &format!("# {MASK}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_bytes([7; 32])
    }

    fn password(text: &str) -> String {
        let root = parse(text).unwrap();
        find(&root, &["from", "password"]).unwrap().text().unwrap().to_owned()
    }

    #[test]
    fn only_the_password_changes() {
        for (given, masked) in [
            ("from: {user: u, password: s3cret} # end\n", "from: {user: u, password: '******'} # end\n"),
            ("from:\n  password: \"s3 #cret\"\n  host: h", "from:\n  password: '******'\n  host: h"),
            ("from:\n  password: 's3''cret'\n", "from:\n  password: '******'\n"),
            ("x: é\nfrom:\n  password: s3cret # 'é'\n", "x: é\nfrom:\n  password: '******' # 'é'\n"),
            ("from: {password: ''}", "from: {password: ''}"),
            ("from: {password: }", "from: {password: }"),
            ("a: &p s3cret\nfrom: {password: *p}", "a: &p '******'\nfrom: {password: *p}"),
            ("# old password: s3cret\nfrom: {host: h}", "# ******\nfrom: {host: h}"),
            ("from: {password: 12345}", "from: {password: '******'}"),
        ] {
            assert_eq!(mask(given, "from").unwrap(), masked, "{given}");
        }
    }

    #[test]
    fn blocks_and_byte_lists_are_masked_too() {
        for text in [
            "from:\n  password: |-\n    s3cret\n  host: h\n",
            "from:\n  password: s3\n    cret\n  host: h\n",
            "from:\n  security:\n    ssl-key-bytes: [115, 51, 99, 114, 101, 116]\n  host: yes\n  x: '5'\n",
            "from:\n  security:\n    ssl-key-bytes: |\n      s3cret\n    ssl-key-base64: s3cret\n",
            "from: {password: {a: s3cret}}",
            "from: {password: [s3cret]}",
        ] {
            let masked = mask(text, "from").unwrap();
            assert!(!masked.contains("s3") && !masked.contains("115"), "{masked}");
            assert!(masked.contains(MASK));
            parse(&masked).unwrap();
        }
    }

    #[test]
    fn encryption_is_done_once() {
        let text = "from:\n  password: it's s3cret # c\n  host: h\n";
        let encrypted = encrypt(text, "from", &key()).unwrap();
        assert!(!encrypted.contains("s3cret") && encrypted.contains("# c\n  host: h\n"), "{encrypted}");
        assert_eq!(key().decrypt(&password(&encrypted)).unwrap(), "it's s3cret");
        assert_eq!(encrypt(&encrypted, "from", &key()).unwrap(), encrypted);
        assert_eq!(encrypt("from: {host: h}", "from", &key()).unwrap(), "from: {host: h}");
    }
}
