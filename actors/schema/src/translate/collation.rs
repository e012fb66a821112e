//! Collations and character sets.
//!
//! Each side has Unicode collations that the other lacks. The nearest one is taken that compares trailing blanks in
//! the same way, since that and case decide which keys are equal; where there is none, a note says what differs.

use std::ops::Range;

use dmnode_model::{CodedError, Flavor};

use super::shape::{PartKind, outside_parens};
use super::{ServerVersion, Work};
use crate::lex::TokenKind;

/// MySQL's language tags in `utf8mb4_<tag>_0900_…` and MariaDB's names for the same tailoring.
const LANGUAGES: [(&str, &str); 22] = [
    ("cs", "czech"),
    ("da", "danish"),
    ("de_pb", "german2"),
    ("eo", "esperanto"),
    ("es", "spanish"),
    ("es_trad", "spanish2"),
    ("et", "estonian"),
    ("hr", "croatian"),
    ("hu", "hungarian"),
    ("is", "icelandic"),
    ("la", "roman"),
    ("lt", "lithuanian"),
    ("lv", "latvian"),
    ("pl", "polish"),
    ("ro", "romanian"),
    ("sk", "slovak"),
    ("sl", "slovenian"),
    ("sv", "swedish"),
    ("tr", "turkish"),
    ("vi", "vietnamese"),
    ("nb", "danish"),
    ("bs", "croatian"),
];

/// The target's name for a collation, and what differs if it is not quite the same. An equal name stays.
pub fn translate_collation(
    name: &str,
    from: Flavor,
    to: Flavor,
    to_version: ServerVersion,
) -> (String, Option<String>) {
    let lower = name.to_ascii_lowercase();
    let translated = match (from, to) {
        (Flavor::Mysql, Flavor::Mariadb) => mysql_to_mariadb(&lower, to_version),
        (Flavor::Mariadb, Flavor::Mysql) => mariadb_to_mysql(&lower, to_version),
        _ => None,
    };
    match translated {
        Some((new, difference)) => {
            let note = match difference {
                "" => format!("collation {name} becomes {new}"),
                text => format!("collation {name} becomes {new}: {text}"),
            };
            (new, Some(note))
        }
        None => (name.to_owned(), None),
    }
}

const NEWER_UNICODE: &str = "same treatment of case, accents and trailing blanks, by a newer Unicode version";
const NO_LANGUAGE: &str = "without the language's own order of letters";
const PADS: &str = "trailing blanks do not count in comparisons in the target, they do in the source";
const NO_PAD: &str = "trailing blanks count in comparisons in the target, they do not in the source";

fn mysql_to_mariadb(name: &str, to_version: ServerVersion) -> Option<(String, &'static str)> {
    if name == "utf8mb3_tolower_ci" {
        return Some(("utf8mb3_general_ci".into(), "letters with accents equal those without in the target"));
    }
    let (head, suffix) = name.strip_prefix("utf8mb4_")?.split_once("0900_")?;
    if suffix == "bin" {
        return Some(("utf8mb4_nopad_bin".into(), "the same comparison"));
    }
    let sensitivity = suffix.strip_suffix("_ks").unwrap_or(suffix);
    if to_version < (10, 10, 1) {
        return Some(match sensitivity {
            "ai_ci" => ("utf8mb4_unicode_520_nopad_ci".into(), "an older Unicode version"),
            _ => ("utf8mb4_nopad_bin".into(), "compared by code point in the target"),
        });
    }
    let tag = head.trim_end_matches('_');
    if tag.is_empty() {
        return Some((format!("utf8mb4_uca1400_nopad_{sensitivity}"), NEWER_UNICODE));
    }
    match LANGUAGES.iter().find(|(mysql, _)| *mysql == tag) {
        Some((_, language)) => {
            Some((format!("utf8mb4_uca1400_{language}_nopad_{sensitivity}"), NEWER_UNICODE))
        }
        None => Some((format!("utf8mb4_uca1400_nopad_{sensitivity}"), NO_LANGUAGE)),
    }
}

fn mariadb_to_mysql(name: &str, to_version: ServerVersion) -> Option<(String, &'static str)> {
    let has_0900 = to_version >= (8, 0, 1);
    if let Some((charset, rest)) = split_uca1400(name) {
        return Some(uca1400_to_mysql(charset, rest, has_0900));
    }
    if let Some((charset, _)) = name.split_once("_croatian_mysql561").or_else(|| name.split_once("_myanmar"))
    {
        return Some((format!("{charset}_unicode_520_ci"), NO_LANGUAGE));
    }
    if let Some(charset) = name.strip_suffix("_thai_520_w2") {
        return Some((format!("{charset}_unicode_520_ci"), NO_LANGUAGE));
    }
    if !name.contains("_nopad") {
        return None;
    }
    if let Some(rest) = name.strip_prefix("utf8mb4_").filter(|_| has_0900) {
        return Some(match rest {
            "nopad_bin" => ("utf8mb4_0900_bin".into(), "the same comparison"),
            _ => ("utf8mb4_0900_ai_ci".into(), "by a newer Unicode version"),
        });
    }
    Some((name.replace("_nopad", ""), PADS))
}

/// `utf8mb4_uca1400_swedish_nopad_as_ci` as `("utf8mb4", "swedish_nopad_as_ci")`; without a character set it is the
/// one of the context, for which utf8mb4 stands.
fn split_uca1400(name: &str) -> Option<(&str, &str)> {
    if let Some(rest) = name.strip_prefix("uca1400_") {
        return Some(("utf8mb4", rest));
    }
    name.split_once("_uca1400_")
}

fn uca1400_to_mysql(charset: &str, rest: &str, has_0900: bool) -> (String, &'static str) {
    let no_pad = rest.contains("nopad_");
    let sensitivity =
        ["ai_ci", "ai_cs", "as_ci", "as_cs"].into_iter().find(|s| rest.ends_with(s)).unwrap_or("ai_ci");
    let language = rest.strip_suffix(sensitivity).unwrap_or("").replace("nopad_", "");
    let language = language.trim_end_matches('_');
    if charset != "utf8mb4" || !has_0900 || (!no_pad && sensitivity == "ai_ci") {
        // The classic collations ignore trailing blanks, accents and case, and exist for every character set.
        let name = match language {
            "" => format!("{charset}_unicode_520_ci"),
            language => format!("{charset}_{language}_ci"),
        };
        let difference = match (no_pad, sensitivity) {
            (true, _) => PADS,
            (false, "ai_ci") => {
                "same treatment of case, accents and trailing blanks, by an older Unicode version"
            }
            _ => "case and accents do not count in the target",
        };
        return (name, difference);
    }
    let tag =
        LANGUAGES.iter().find(|(_, mariadb)| *mariadb == language).map(|(mysql, _)| format!("{mysql}_"));
    let difference = match (no_pad, &tag, language, sensitivity) {
        (_, None, other, _) if !other.is_empty() => NO_LANGUAGE,
        (false, ..) => NO_PAD,
        _ => "same treatment of case, accents and trailing blanks, by an older Unicode version",
    };
    // MySQL has no collation that heeds case but not accents, and languages only in two degrees.
    let sensitivity = match sensitivity {
        "ai_cs" => "as_cs",
        "as_ci" if tag.is_some() => "as_cs",
        other => other,
    };
    (format!("utf8mb4_{}0900_{sensitivity}", tag.unwrap_or_default()), difference)
}

/// Translates every `COLLATE` of the statement, and spells the source's default collation out where only a character
/// set is given whose default differs in the target.
pub(super) fn run(work: &mut Work<'_, '_>) -> Result<(), CodedError> {
    for i in 0..work.tokens.len() {
        if work.tokens.is(i, "COLLATE") {
            let name = i + 1 + usize::from(work.tokens.punct(i + 1, '='));
            translate_name(work, name);
        } else if let Some(charset) = charset_at(work, i) {
            check_charset(work, charset)?;
        }
    }
    spell_defaults_out(work);
    Ok(())
}

/// Names the source's default collation where only a character set is given.
pub(super) fn spell_defaults_out(work: &mut Work<'_, '_>) {
    let mut regions: Vec<Range<usize>> = work.shape.columns.iter().map(|c| c.body.clone()).collect();
    let options = |p: &&super::shape::Part| p.kind == PartKind::Options;
    let has_collate = |range: &Range<usize>| {
        outside_parens(work.tokens, range.clone()).iter().any(|i| work.tokens.is(*i, "COLLATE"))
    };
    let option_parts: Vec<Range<usize>> =
        work.shape.parts.iter().filter(options).map(|p| p.tokens.clone()).collect();
    if !option_parts.iter().any(has_collate) {
        regions.extend(option_parts);
    }
    for region in regions {
        spell_default_out(work, region);
    }
}

fn translate_name(work: &mut Work<'_, '_>, at: usize) {
    let text = work.tokens.text(at);
    let name = match work.tokens.list.get(at).map(|t| t.kind) {
        Some(TokenKind::Text) => text.trim_matches(['\'', '"']).to_owned(),
        Some(TokenKind::Word | TokenKind::QuotedIdent) => {
            work.tokens.ident(at).unwrap_or_default().into_owned()
        }
        _ => return,
    };
    let (new, note) = translate_collation(&name, work.from, work.to, work.to_version);
    if new != name {
        work.replace(at..at + 1, new);
    }
    if let Some(note) = note {
        work.note(note);
    }
}

/// The token of the name if `CHARACTER SET`, `CHAR SET` or `CHARSET` stands at `i`.
fn charset_at(work: &Work<'_, '_>, i: usize) -> Option<usize> {
    let tokens = work.tokens;
    let mut name = if tokens.is(i, "CHARSET") {
        i + 1
    } else if tokens.is_any(i, &["CHARACTER", "CHAR"]) && tokens.is(i + 1, "SET") {
        i + 2
    } else {
        return None;
    };
    name += usize::from(tokens.punct(name, '='));
    (name < tokens.len()).then_some(name)
}

fn charset_name(work: &Work<'_, '_>, at: usize) -> String {
    work.tokens.text(at).trim_matches(['\'', '"', '`']).to_ascii_lowercase()
}

fn check_charset(work: &Work<'_, '_>, at: usize) -> Result<(), CodedError> {
    if work.to == Flavor::Mariadb && charset_name(work, at) == "gb18030" {
        return work.refuse(
            "the character set gb18030",
            "convert the table to utf8mb4 at the source, or leave it out",
        );
    }
    Ok(())
}

/// `CHARSET=utf8mb4` alone means `utf8mb4_0900_ai_ci` to MySQL and `utf8mb4_general_ci` to MariaDB.
fn spell_default_out(work: &mut Work<'_, '_>, region: Range<usize>) {
    let outside = outside_parens(work.tokens, region);
    // `CHARACTER SET utf8mb4 BINARY` is `utf8mb4_bin` to both.
    if outside.iter().any(|i| work.tokens.is_any(*i, &["COLLATE", "BINARY"])) {
        return;
    }
    let charsets: Vec<usize> = outside.iter().filter_map(|i| charset_at(work, *i)).collect();
    for at in charsets {
        if charset_name(work, at) != "utf8mb4" {
            continue;
        }
        let default = match (work.from, work.utf8mb4_collation) {
            (Flavor::Mysql, Some(collation)) => collation,
            (Flavor::Mysql, None) => "utf8mb4_0900_ai_ci",
            (Flavor::Mariadb, _) => "utf8mb4_general_ci",
        };
        let (name, note) = translate_collation(default, work.from, work.to, work.to_version);
        work.insert_after(at, format!(" COLLATE {name}"));
        if let Some(note) = note {
            work.note(note);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to_mariadb(name: &str) -> String {
        translate_collation(name, Flavor::Mysql, Flavor::Mariadb, (10, 11, 6)).0
    }

    fn to_mysql(name: &str) -> String {
        translate_collation(name, Flavor::Mariadb, Flavor::Mysql, (8, 4, 0)).0
    }

    #[test]
    fn no_pad_is_kept_where_possible() {
        for (mysql, mariadb) in [
            ("utf8mb4_0900_ai_ci", "utf8mb4_uca1400_nopad_ai_ci"),
            ("utf8mb4_0900_as_cs", "utf8mb4_uca1400_nopad_as_cs"),
            ("utf8mb4_0900_bin", "utf8mb4_nopad_bin"),
            ("utf8mb4_de_pb_0900_as_cs", "utf8mb4_uca1400_german2_nopad_as_cs"),
            ("utf8mb4_es_trad_0900_ai_ci", "utf8mb4_uca1400_spanish2_nopad_ai_ci"),
        ] {
            assert_eq!(to_mariadb(mysql), mariadb);
            assert_eq!(to_mysql(mariadb), mysql);
        }
        assert_eq!(to_mariadb("utf8mb4_ja_0900_as_cs_ks"), "utf8mb4_uca1400_nopad_as_cs");
        assert_eq!(to_mysql("utf8mb4_uca1400_ai_ci"), "utf8mb4_unicode_520_ci");
        assert_eq!(to_mysql("uca1400_as_ci"), "utf8mb4_0900_as_ci");
        assert_eq!(to_mysql("utf8mb3_uca1400_swedish_ai_ci"), "utf8mb3_swedish_ci");
        assert_eq!(to_mysql("latin1_swedish_nopad_ci"), "latin1_swedish_ci");
        assert_eq!(to_mysql("utf8mb4_general_nopad_ci"), "utf8mb4_0900_ai_ci");
    }

    #[test]
    fn common_names_stay_without_a_note() {
        for name in [
            "utf8mb4_general_ci",
            "utf8mb4_bin",
            "latin1_swedish_ci",
            "utf8mb3_general_ci",
            "utf8mb4_unicode_520_ci",
        ] {
            assert_eq!(
                translate_collation(name, Flavor::Mysql, Flavor::Mariadb, (10, 11, 6)),
                (name.into(), None)
            );
            assert_eq!(
                translate_collation(name, Flavor::Mariadb, Flavor::Mysql, (8, 4, 0)),
                (name.into(), None)
            );
        }
        let (_, note) =
            translate_collation("utf8mb4_uca1400_as_ci", Flavor::Mariadb, Flavor::Mysql, (8, 4, 0));
        assert!(note.unwrap().contains("trailing blanks"));
    }
}
