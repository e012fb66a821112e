//! LIKE and REGEXP.

use dmnode_model::regular_expression;

use super::Fault;
use super::collate::Collation;

const BACKTRACK_LIMIT: usize = 1_000_000;

enum Part {
    One(char),
    Any,
    Run,
}

/// `text LIKE pattern ESCAPE escape`: character by character, blanks at the end count.
pub(super) fn like(
    text: &str,
    pattern: &str,
    escape: Option<char>,
    collation: Collation,
) -> Result<bool, Fault> {
    let mut parts = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        parts.push(match c {
            c if Some(c) == escape => match chars.next() {
                Some(escaped) => Part::One(escaped),
                None => Part::One(c),
            },
            '%' => Part::Run,
            '_' => Part::Any,
            c => Part::One(c),
        });
    }
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        let here = match parts.get(p) {
            Some(Part::Run) => {
                retry = Some((p, t));
                p += 1;
                continue;
            }
            Some(Part::Any) => true,
            Some(Part::One(c)) => collation.same_char(*c, text[t])?,
            None => false,
        };
        if here {
            p += 1;
            t += 1;
        } else if let Some((run, start)) = &mut retry {
            *start += 1;
            p = *run + 1;
            t = *start;
        } else {
            return Ok(false);
        }
    }
    Ok(parts.get(p..).unwrap_or(&[]).iter().all(|part| matches!(part, Part::Run)))
}

/// `text REGEXP pattern`.
pub(super) fn regexp(text: &str, pattern: &str, collation: Collation) -> Result<bool, Fault> {
    let regex = regular_expression::compile(pattern, collation.ignores_case()?, BACKTRACK_LIMIT)
        .map_err(|reason| Fault::undecided(format!("bad regular expression: {reason}")))?;
    regex.is_match(text).map_err(|_| Fault::undecided("a regular expression backtracks too much"))
}
