//! Patterns for names: wildcards, or `~` and a regular expression.

use dmnode_model::regular_expression;
use fancy_regex::Regex;

/// How much a regular expression may backtrack on one name before the match is given up with an error.
const BACKTRACK_LIMIT: usize = 200_000;

/// One compiled pattern.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    case_sensitive: bool,
    matcher: Matcher,
}

#[derive(Debug, Clone)]
enum Matcher {
    Exact(String),
    Wildcard(Vec<Part>),
    Regex(Box<Regex>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Char(char),
    AnyChar,
    AnyRun,
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// A pattern that cannot be compiled, or a match that took too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("pattern `{pattern}`: {reason}")]
pub struct PatternError {
    /// The pattern as the user wrote it.
    pub pattern: String,
    /// What is wrong, with the place in the pattern where that is known.
    pub reason: String,
}

impl Pattern {
    /// Compiles `*` (any run of characters), `?` (one character), `[a-c]`, `[!a-c]`, or `~regex` (searched
    /// anywhere in the name, look-around allowed).
    pub fn new(text: &str, case_sensitive: bool) -> Result<Pattern, PatternError> {
        let matcher = match text.strip_prefix('~') {
            Some(regex) => Matcher::Regex(Box::new(compile_regex(text, regex, case_sensitive)?)),
            None => {
                let folded = if case_sensitive { text.to_owned() } else { text.to_lowercase() };
                let parts = parse_wildcard(text, &folded)?;
                if parts.iter().all(|p| matches!(p, Part::Char(_))) {
                    Matcher::Exact(folded)
                } else {
                    Matcher::Wildcard(parts)
                }
            }
        };
        Ok(Pattern { text: text.to_owned(), case_sensitive, matcher })
    }

    /// Only one name matches.
    pub fn is_exact(&self) -> bool {
        matches!(self.matcher, Matcher::Exact(_))
    }

    /// The pattern as the user wrote it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// `name` matches. An error only if a regular expression backtracks beyond its limit.
    pub fn matches(&self, name: &str) -> Result<bool, PatternError> {
        match &self.matcher {
            Matcher::Exact(exact) if self.case_sensitive => Ok(exact == name),
            Matcher::Exact(exact) => Ok(*exact == name.to_lowercase()),
            Matcher::Wildcard(parts) => {
                let folded = if self.case_sensitive { name.to_owned() } else { name.to_lowercase() };
                Ok(wildcard_matches(parts, &folded.chars().collect::<Vec<_>>()))
            }
            Matcher::Regex(regex) => regex.is_match(name).map_err(|err| PatternError {
                pattern: self.text.clone(),
                reason: format!("matching the name `{name}` was given up: {err}"),
            }),
        }
    }

    /// The characters before the first that stands for others; None for a regular expression or a single name.
    pub fn literal_prefix(&self) -> Option<String> {
        let Matcher::Wildcard(parts) = &self.matcher else { return None };
        let letters = parts.iter().map_while(|part| match part {
            Part::Char(c) => Some(*c),
            _ => None,
        });
        Some(letters.collect())
    }

    /// The name begins as the pattern does, so that it was perhaps meant.
    pub fn resembles(&self, name: &str) -> bool {
        let name = if self.case_sensitive { name.to_owned() } else { name.to_lowercase() };
        self.literal_prefix().is_some_and(|prefix| !prefix.is_empty() && name.starts_with(&prefix))
    }

    /// How many of the names that begin as the pattern does it matches, if it has a class in brackets and does not
    /// match them all: `t_[0-63]` is rarely what its writer takes it for.
    pub fn misread<'n>(&self, names: impl Iterator<Item = &'n str>) -> Result<Option<String>, PatternError> {
        let Some(meaning) = self.explain() else { return Ok(None) };
        let (mut alike, mut matched) = (0usize, 0usize);
        for name in names.filter(|name| self.resembles(name)) {
            alike += 1;
            matched += usize::from(self.matches(name)?);
        }
        let prefix = self.literal_prefix().unwrap_or_default();
        Ok((matched < alike).then(|| {
            format!(
                "`{}`: {meaning}; it matches {matched} of the {alike} names that begin with `{prefix}`",
                self.text
            )
        }))
    }

    /// What the pattern means where that often surprises: a class such as `[0-63]` is one character.
    pub fn explain(&self) -> Option<String> {
        let Matcher::Wildcard(parts) = &self.matcher else { return None };
        let classes: Vec<String> = parts.iter().filter_map(explain_class).collect();
        if classes.is_empty() { None } else { Some(classes.join("; ")) }
    }
}

fn compile_regex(text: &str, regex: &str, case_sensitive: bool) -> Result<Regex, PatternError> {
    regular_expression::compile(regex, !case_sensitive, BACKTRACK_LIMIT)
        .map_err(|reason| PatternError { pattern: text.to_owned(), reason })
}

fn parse_wildcard(text: &str, folded: &str) -> Result<Vec<Part>, PatternError> {
    let error = |reason: String| PatternError { pattern: text.to_owned(), reason };
    let chars: Vec<char> = folded.chars().collect();
    let mut parts = Vec::with_capacity(chars.len());
    let mut i = 0;
    while let Some(c) = chars.get(i) {
        i += 1;
        match c {
            '*' if parts.last() == Some(&Part::AnyRun) => {}
            '*' => parts.push(Part::AnyRun),
            '?' => parts.push(Part::AnyChar),
            '[' => {
                let close = chars.iter().skip(i).position(|c| *c == ']').map(|n| i + n);
                let Some(close) = close else {
                    return Err(error(format!("`[` at character {i} has no closing `]`")));
                };
                let negated = chars.get(i) == Some(&'!');
                let members = chars.get(i + usize::from(negated)..close).unwrap_or(&[]);
                let ranges = parse_ranges(members).ok_or_else(|| {
                    error(format!("the class that starts at character {i} is empty or runs backwards"))
                })?;
                parts.push(Part::Class { negated, ranges });
                i = close + 1;
            }
            c => parts.push(Part::Char(*c)),
        }
    }
    Ok(parts)
}

fn parse_ranges(members: &[char]) -> Option<Vec<(char, char)>> {
    let mut ranges = Vec::new();
    let mut rest = members;
    loop {
        rest = match rest {
            [] => break,
            [low, '-', high, tail @ ..] => {
                if low > high {
                    return None;
                }
                ranges.push((*low, *high));
                tail
            }
            [one, tail @ ..] => {
                ranges.push((*one, *one));
                tail
            }
        };
    }
    if ranges.is_empty() { None } else { Some(ranges) }
}

/// Classic two-pointer matching: linear but for the last `*`, so no pattern can make it slow.
fn wildcard_matches(parts: &[Part], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match parts.get(p) {
            Some(Part::AnyRun) => {
                retry = Some((p, n));
                p += 1;
            }
            Some(part) if part_matches(part, name[n]) => {
                p += 1;
                n += 1;
            }
            _ => match &mut retry {
                Some((run, start)) => {
                    *start += 1;
                    (p, n) = (*run + 1, *start);
                }
                None => return false,
            },
        }
    }
    parts[p..].iter().all(|part| *part == Part::AnyRun)
}

fn part_matches(part: &Part, c: char) -> bool {
    match part {
        Part::Char(exact) => *exact == c,
        Part::AnyChar | Part::AnyRun => true,
        Part::Class { negated, ranges } => {
            ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
        }
    }
}

fn explain_class(part: &Part) -> Option<String> {
    let Part::Class { negated, ranges } = part else { return None };
    let members: Vec<String> = ranges
        .iter()
        .map(|(low, high)| if low == high { low.to_string() } else { format!("{low}-{high}") })
        .collect();
    let not = if *negated { "other than " } else { "of " };
    Some(format!("a class in brackets matches exactly one character {not}{}", members.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern, false).unwrap().matches(name).unwrap()
    }

    #[test]
    fn wildcards() {
        assert!(matches("shard_*", "SHARD_"));
        assert!(matches("shard_*", "shard_17"));
        assert!(!matches("shard_*", "my_shard_1"));
        assert!(matches("*_log", "a_log"));
        assert!(matches("a*b*c", "aXbXbc"));
        assert!(!matches("a*b*c", "aXbX"));
        assert!(matches("t?", "tä"));
        assert!(!matches("t?", "t"));
        assert!(matches("t_[0-9]", "t_5"));
        assert!(matches("t_[!0-9]", "t_x"));
        assert!(!matches("t_[!0-9]", "t_5"));
        assert!(matches("*", ""));
        assert!(matches("a.b", "a.b"));
        assert!(!matches("a.b", "axb"));
    }

    #[test]
    fn case_counts_only_when_asked() {
        assert!(matches("Users", "uSERS"));
        assert!(!Pattern::new("Users", true).unwrap().matches("users").unwrap());
        assert!(!Pattern::new("~^Users$", true).unwrap().matches("users").unwrap());
        assert!(matches("~^Users$", "users"));
    }

    #[test]
    fn regexes_search_and_look_around() {
        assert!(matches("~user", "all_users"));
        assert!(matches("~^(?!tmp_).*$", "orders"));
        assert!(!matches("~^(?!tmp_).*$", "tmp_orders"));
        assert!(matches(r"~^\Qa.b\E$", "a.b"));
        assert!(!matches(r"~^\Qa.b\E$", "axb"));
    }

    #[test]
    fn bad_patterns_name_the_place() {
        assert!(Pattern::new("t_[0-9", false).unwrap_err().reason.contains("character 3"));
        assert!(Pattern::new("t_[9-0]", false).is_err());
        assert!(Pattern::new("t_[]", false).is_err());
        let err = Pattern::new("~(abc", false).unwrap_err();
        assert!(err.to_string().contains("~(abc"), "{err}");
    }

    #[test]
    fn a_runaway_regex_is_an_error_and_not_a_mismatch() {
        let pattern = Pattern::new(r"~^(?=(a+)+$)(\w+)\2$", false).unwrap();
        let name = format!("{}!", "a".repeat(60));
        assert!(pattern.matches(&name).is_err() || !pattern.matches(&name).unwrap());
        let pattern = Pattern::new(r"~^((a|aa)+)\1b$", false).unwrap();
        assert!(pattern.matches(&"a".repeat(64)).is_err());
    }

    #[test]
    fn classes_are_explained() {
        let text = Pattern::new("t_[0-63]", false).unwrap().explain().unwrap();
        assert_eq!(text, "a class in brackets matches exactly one character of 0-6 or 3");
        assert_eq!(Pattern::new("t_1", false).unwrap().explain(), None);
    }
}
