//! The little Markdown that pages use, for a terminal: bold headings, coloured code, wrapped and indented text.

use anstyle::{AnsiColor, Style};

use super::page;
use crate::output::styled;

const HEADING: Style = Style::new().bold();
const CODE: Style = AnsiColor::Cyan.on_default();

/// The text as a terminal of this width shows it.
pub fn terminal(markdown: &str, width: usize) -> String {
    let mut out = String::new();
    let mut paragraph = String::new();
    let mut indent = 0;
    let mut in_block = false;
    let flush = |out: &mut String, paragraph: &mut String, indent: usize| {
        if !paragraph.is_empty() {
            out.push_str(&wrap(paragraph, width, indent));
            out.push('\n');
            paragraph.clear();
        }
    };
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            flush(&mut out, &mut paragraph, indent);
            in_block = !in_block;
            continue;
        }
        if in_block {
            out.push_str(&format!("{}{}\n", " ".repeat(indent.max(2)), styled(CODE, line.trim_start())));
            continue;
        }
        if let Some(heading) = line.strip_prefix("# ").or_else(|| line.strip_prefix("## ")) {
            flush(&mut out, &mut paragraph, indent);
            out.push_str(&styled(HEADING, heading));
            out.push('\n');
            indent = 0;
            continue;
        }
        if line.trim().is_empty() {
            flush(&mut out, &mut paragraph, indent);
            indent = 0;
            if !out.ends_with("\n\n") {
                out.push('\n');
            }
            continue;
        }
        if let Some(length) = page::mark(line) {
            flush(&mut out, &mut paragraph, indent);
            indent = length + 2;
            paragraph.push_str("  ");
            paragraph.push_str(line.trim_end());
            continue;
        }
        if !paragraph.is_empty() {
            paragraph.push(' ');
        }
        paragraph.push_str(line.trim());
    }
    flush(&mut out, &mut paragraph, indent);
    // Headings stand directly above their text.
    out.trim_end().to_owned()
}

/// Breaks a paragraph at blanks; lines after the first are indented; code is coloured.
fn wrap(text: &str, width: usize, indent: usize) -> String {
    let lead = text.len() - text.trim_start().len();
    let mut out = " ".repeat(lead);
    let mut column = lead;
    let mut in_code = false;
    for (index, word) in text.split_whitespace().enumerate() {
        let length = word.chars().filter(|c| *c != '`').count();
        if index > 0 {
            if column + 1 + length > width {
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                column = indent;
            } else {
                out.push(' ');
                column += 1;
            }
        }
        // A style never crosses the end of a word: a pager may cut lines anywhere.
        for (part_index, part) in word.split('`').enumerate() {
            if part_index > 0 {
                in_code = !in_code;
            }
            if !part.is_empty() {
                out.push_str(&if in_code { styled(CODE, part) } else { part.to_owned() });
            }
        }
        column += length;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn lists_hang_and_lines_are_short() {
        let text = "# 1 A\n\nSome `code` here.\n\n## What to do\n\n1. one two three four five six seven eight nine\n2. next\n";
        let shown = plain(&terminal(text, 30));
        assert_eq!(
            shown,
            "1 A\n\nSome code here.\n\nWhat to do\n\n  1. one two three four five\n     six seven eight nine\n  2. next"
        );
        assert!(shown.lines().all(|line| line.len() <= 30));
    }

    #[test]
    fn blocks_are_kept_as_they_are() {
        let shown = plain(&terminal("1. run\n\n```sql\nSELECT   1;\n```\n", 40));
        assert!(shown.contains("SELECT   1;"), "{shown}");
    }
}
