//! Regular expressions of configuration files: Perl's syntax with look-around, bounded backtracking, and errors that
//! name the place.

use fancy_regex::{Error, Regex, RegexBuilder};

/// Compiles `text`. `backtrack_limit` bounds a single match. The error says what is wrong and at which character.
pub fn compile(text: &str, ignore_case: bool, backtrack_limit: usize) -> Result<Regex, String> {
    RegexBuilder::new(&expand_literal_quotes(text))
        .case_insensitive(ignore_case)
        .backtrack_limit(backtrack_limit)
        .build()
        .map_err(|err| fault(text, &err))
}

/// What is wrong, with the place in the text where it is known, counted in characters from one.
fn fault(text: &str, err: &Error) -> String {
    // A parser without look-around points closer to the fault, where it understands the text.
    if let Some((reason, at)) = plain_fault(text) {
        return format!("{reason}, at character {at}");
    }
    if let Error::ParseError(byte, kind) = err {
        let at = text.char_indices().take_while(|(start, _)| start < byte).count() + 1;
        return format!("{kind}, at character {at}");
    }
    err.to_string().lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join(" ")
}

/// The reason and the place out of the drawing that the parser answers.
fn plain_fault(text: &str) -> Option<(String, usize)> {
    let drawing = regex::Regex::new(text).err()?.to_string();
    let mut lines = drawing.lines();
    let caret = lines.by_ref().find(|line| line.trim_start().starts_with('^'))?;
    let reason = lines.find_map(|line| line.strip_prefix("error: "))?;
    if reason.contains("look-around") || reason.contains("backreference") {
        return None;
    }
    // The drawing is indented by four.
    Some((reason.to_owned(), caret.find('^')?.checked_sub(4)? + 1))
}

/// `\Q…\E`, which DM's regular expressions know, as escaped characters.
fn expand_literal_quotes(regex: &str) -> String {
    let mut out = String::with_capacity(regex.len());
    let mut rest = regex;
    while let Some(start) = rest.find("\\Q") {
        let backslashes = rest[..start].bytes().rev().take_while(|b| *b == b'\\').count();
        if backslashes % 2 == 1 {
            out.push_str(&rest[..start + 2]);
            rest = &rest[start + 2..];
            continue;
        }
        out.push_str(&rest[..start]);
        let literal = &rest[start + 2..];
        let end = literal.find("\\E").unwrap_or(literal.len());
        out.push_str(&fancy_regex::escape(&literal[..end]));
        rest = literal.get(end + 2..).unwrap_or("");
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_their_place() {
        let fault = |text: &str| compile(text, true, 1000).unwrap_err();
        for (text, place) in
            [("ab(c", "character 3"), ("a[z-a]", "character 3"), ("(?!a)b(?<x", "character 8"), ("x*?+*", "")]
        {
            let reason = fault(text);
            assert!(reason.contains(place), "{text}: {reason}");
            assert!(!reason.contains('\n'), "{reason}");
        }
        assert!(compile(r"^(?!tmp_)(?<=^)\Qa.b\E$", true, 1000).unwrap().is_match("A.B").unwrap());
    }
}
