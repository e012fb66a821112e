//! Comparison of texts, as far as it can be known without a server's tables of weights.

use std::cmp::Ordering;

use super::Fault;

/// How texts are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collation {
    rule: Rule,
    /// Blanks at the end do not count.
    pad: bool,
    /// What wins when two meet: 0 COLLATE, 2 a column, 4 a literal, 5 a number as text.
    level: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// By code points.
    Binary,
    /// Letters without case and accents, by code points of the upper case otherwise (`…_general_ci`).
    General,
    /// Letters of ASCII without case; others are not known.
    Ascii,
    /// Letters without case and accents, by Unicode's weights.
    Unicode,
    /// Not known.
    Unknown,
}

impl Collation {
    /// Of a column.
    pub fn of_column(name: &str) -> Collation {
        Collation { level: 2, ..Self::named(name) }
    }

    /// Of a literal: gives way to everything else.
    pub fn literal() -> Collation {
        Collation { rule: Rule::Unicode, pad: false, level: 4 }
    }

    /// Of a number that is used as text.
    pub(super) fn number() -> Collation {
        Collation { level: 5, ..Self::literal() }
    }

    /// Of a result that may come from texts of several collations.
    pub(super) fn mixed() -> Collation {
        Collation { rule: Rule::Unknown, pad: false, level: 2 }
    }

    /// Of `COLLATE`.
    pub fn explicit(name: &str) -> Collation {
        Collation { level: 0, ..Self::named(name) }
    }

    fn named(name: &str) -> Collation {
        let name = name.to_ascii_lowercase();
        let pad = !(name.contains("_0900_") || name.contains("_nopad_") || name == "binary");
        let charset = name.split('_').next().unwrap_or("");
        let unicode =
            matches!(charset, "utf8mb4" | "utf8" | "utf8mb3" | "ucs2" | "utf16" | "utf16le" | "utf32");
        let kind = name.split_once('_').map_or("", |(_, kind)| kind);
        let rule = if name.ends_with("_bin") || name == "binary" {
            Rule::Binary
        } else if matches!(kind, "general_ci" | "general_nopad_ci") {
            Rule::General
        } else if name == "latin1_swedish_ci" || name == "ascii_general_ci" {
            Rule::Ascii
        } else if unicode
            && matches!(
                kind,
                "0900_ai_ci" | "unicode_ci" | "unicode_520_ci" | "unicode_nopad_ci" | "unicode_520_nopad_ci"
            )
            || name.ends_with("uca1400_ai_ci")
            || name.ends_with("uca1400_nopad_ai_ci")
        {
            Rule::Unicode
        } else {
            Rule::Unknown
        };
        // uca1400 collations pad unless they say otherwise.
        Collation { rule, pad, level: 2 }
    }

    /// The collation under which two texts meet.
    pub fn merge(self, other: Collation) -> Result<Collation, Fault> {
        match self.level.cmp(&other.level) {
            Ordering::Less => Ok(self),
            Ordering::Greater => Ok(other),
            Ordering::Equal if self.rule == other.rule && self.pad == other.pad => Ok(self),
            Ordering::Equal if self.rule == Rule::Binary => Ok(self),
            Ordering::Equal if other.rule == Rule::Binary => Ok(other),
            Ordering::Equal => {
                Err(Fault::undecided("texts of two collations are compared: say which with COLLATE"))
            }
        }
    }

    /// Upper and lower case are the same.
    pub fn ignores_case(self) -> Result<bool, Fault> {
        match self.rule {
            Rule::Binary => Ok(false),
            Rule::General | Rule::Ascii | Rule::Unicode => Ok(true),
            Rule::Unknown => Err(unknown()),
        }
    }

    /// Order of two texts.
    pub fn compare(self, a: &str, b: &str) -> Result<Ordering, Fault> {
        let (a, b) = if self.pad { (a.trim_end_matches(' '), b.trim_end_matches(' ')) } else { (a, b) };
        if a == b {
            return Ok(Ordering::Equal);
        }
        match self.rule {
            Rule::Binary => Ok(compare_padded(a.chars().map(u32::from), b.chars().map(u32::from), self.pad)),
            Rule::General => Ok(compare_padded(general(a)?.into_iter(), general(b)?.into_iter(), self.pad)),
            Rule::Ascii if !(a.is_ascii() && b.is_ascii()) => Err(foreign()),
            Rule::Ascii => Ok(compare_padded(general(a)?.into_iter(), general(b)?.into_iter(), self.pad)),
            Rule::Unicode => Ok(unicode(a)?.cmp(&unicode(b)?)),
            Rule::Unknown => Err(unknown()),
        }
    }

    /// One character of a LIKE pattern and one of the text are the same.
    pub fn same_char(self, a: char, b: char) -> Result<bool, Fault> {
        if a == b {
            return Ok(true);
        }
        match self.rule {
            Rule::Binary => Ok(false),
            Rule::Unknown => Err(unknown()),
            Rule::Ascii if !(a.is_ascii() && b.is_ascii()) => Err(foreign()),
            Rule::General | Rule::Ascii | Rule::Unicode => {
                let (mut x, mut y) = ([0; 4], [0; 4]);
                Ok(general(a.encode_utf8(&mut x))? == general(b.encode_utf8(&mut y))?)
            }
        }
    }
}

fn unknown() -> Fault {
    Fault::undecided(
        "how texts of this collation are compared is not known here: compare under a binary collation (COLLATE …_bin), \
         or leave the filtering to the target",
    )
}

/// A shorter text is compared as if blanks followed it.
fn compare_padded(a: impl Iterator<Item = u32>, b: impl Iterator<Item = u32>, pad: bool) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        match (a.next(), b.next()) {
            (None, None) => return Ordering::Equal,
            (Some(x), Some(y)) if x == y => {}
            (Some(x), Some(y)) => return x.cmp(&y),
            (Some(x), None) if pad => match x.cmp(&32) {
                Ordering::Equal => {}
                order => return order,
            },
            (None, Some(y)) if pad => match 32.cmp(&y) {
                Ordering::Equal => {}
                order => return order,
            },
            (Some(_), None) => return Ordering::Greater,
            (None, Some(_)) => return Ordering::Less,
        }
    }
}

/// Upper case without accents, for characters of which that is known.
fn general(text: &str) -> Result<Vec<u32>, Fault> {
    text.chars()
        .map(|c| {
            if c.is_ascii() {
                return Ok(u32::from(c.to_ascii_uppercase()));
            }
            base_letter(c).map(u32::from).ok_or_else(foreign)
        })
        .collect()
}

/// Order of printable ASCII in Unicode's table of weights.
const ASCII_ORDER: &str = " _-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$0123456789";

fn unicode(text: &str) -> Result<Vec<u32>, Fault> {
    let letters = u32::try_from(ASCII_ORDER.len()).unwrap_or(0);
    text.chars()
        .map(|c| {
            let c = if c.is_ascii() { c } else { base_letter(c).ok_or_else(foreign)? };
            let upper = c.to_ascii_uppercase();
            if upper.is_ascii_uppercase() {
                return Ok(letters + u32::from(upper));
            }
            if let Some(at) = ASCII_ORDER.find(c) {
                return Ok(u32::try_from(at).unwrap_or(0));
            }
            // Ideographs and Hangul have no case and no accents: equal only if the same, but after the letters.
            if is_plain(c) { Ok(letters + 0x1000 + u32::from(c)) } else { Err(foreign()) }
        })
        .collect()
}

/// Han ideographs, which are only equal to themselves.
fn is_plain(c: char) -> bool {
    matches!(u32::from(c), 0x4E00..=0x9FA5)
}

fn foreign() -> Fault {
    Fault::undecided(
        "a character beyond those whose weight is known is compared without case: compare under a binary collation \
         (COLLATE …_bin)",
    )
}

/// The letter without case and accent, where all of these collations agree.
fn base_letter(c: char) -> Option<char> {
    Some(match c {
        'À'..='Å' | 'à'..='å' => 'A',
        'Ç' | 'ç' => 'C',
        'È'..='Ë' | 'è'..='ë' => 'E',
        'Ì'..='Ï' | 'ì'..='ï' => 'I',
        'Ñ' | 'ñ' => 'N',
        'Ò'..='Ö' | 'ò'..='ö' => 'O',
        'Ù'..='Ü' | 'ù'..='ü' => 'U',
        c if is_plain(c) => c,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collations() {
        let cmp = |name: &str, a: &str, b: &str| Collation::of_column(name).compare(a, b).ok();
        assert_eq!(cmp("utf8mb4_general_ci", "Abc", "aBC  "), Some(Ordering::Equal));
        assert_eq!(cmp("utf8mb4_0900_ai_ci", "abc", "abc "), Some(Ordering::Less));
        assert_eq!(cmp("utf8mb4_bin", "a", "a "), Some(Ordering::Equal));
        assert_eq!(cmp("utf8mb4_0900_bin", "a", "a "), Some(Ordering::Less));
        assert_eq!(cmp("utf8mb4_bin", "a", "B"), Some(Ordering::Greater));
        assert_eq!(cmp("utf8mb4_general_ci", "é", "E"), Some(Ordering::Equal));
        assert_eq!(cmp("utf8mb4_unicode_ci", "a_b", "a1"), Some(Ordering::Less));
        assert_eq!(cmp("utf8mb4_general_ci", "a_b", "a1"), Some(Ordering::Greater));
        assert_eq!(cmp("utf8mb4_tr_ci", "a", "b"), None);
        assert_eq!(cmp("utf8mb4_tr_ci", "a", "a"), Some(Ordering::Equal));
        assert_eq!(cmp("utf8mb4_unicode_ci", "ж", "Ж"), None);
    }
}
