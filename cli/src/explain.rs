//! `explain`: what an error code means and what to do about it, from the pages under `cli/errors/`.
//!
//! The pages are part of the binary: they are there when no node answers, which is when they are needed.

mod page;
mod render;

use std::io::IsTerminal;

use dmnode_model::codes::{self, CodeInfo, Policy};
use serde_json::{Value, json};

use crate::args::ExplainArgs;
use crate::exit::{CtlError, Exit};
use crate::json::EmptyList;
use crate::output::{Output, table};

pub use page::Page;

/// File name and text of every page file.
const FILES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/error_pages.rs"));

/// Codes of our own begin here; those below are DM's.
const FIRST_OWN_CODE: u32 = 60000;

/// Most codes that one answer is pointed from.
const POINTERS_MAX: usize = 5;

/// Every page, in order of code.
pub fn pages() -> Result<Vec<Page>, CtlError> {
    let mut pages = Vec::new();
    for (file, text) in FILES {
        let found =
            page::parse(text).map_err(|why| CtlError::Refused(format!("the page file {file}: {why}")))?;
        pages.extend(found);
    }
    pages.sort_by_key(|page| page.code);
    Ok(pages)
}

/// Carries out `explain`.
pub fn run(output: Output, args: &ExplainArgs) -> Result<Exit, CtlError> {
    let pages = pages()?;
    if args.code.is_empty() {
        return list_codes(output, &pages, args.search.as_deref());
    }
    let mut shown = Vec::new();
    for asked in &args.code {
        let info = find(asked)?;
        let page = pages.iter().find(|page| page.code == info.code).ok_or_else(|| {
            CtlError::Refused(format!(
                "code {} ({}) has no page; its advice: {}",
                info.code, info.name, info.workaround
            ))
        })?;
        shown.push((info, page));
    }
    if output.is_explicit_json() {
        let values: Vec<Value> = shown.iter().map(|(info, page)| to_json(info, page)).collect();
        let value = if let [one] = values.as_slice() { one.clone() } else { Value::Array(values) };
        output.json(&value, EmptyList::OneLine)?;
        return Ok(Exit::Done);
    }
    let text = shown.iter().map(|(info, page)| markdown(info, page)).collect::<Vec<_>>().join("\n");
    let for_people = std::io::stdout().is_terminal() || output.is_explicit_table();
    output.line(if for_people { render::terminal(&text, width()) } else { text }.trim_end());
    Ok(Exit::Done)
}

/// `(code, first sentence)` of the pages that have the word, or of all.
fn list_codes(output: Output, pages: &[Page], word: Option<&str>) -> Result<Exit, CtlError> {
    let found: Vec<(&CodeInfo, &Page)> = pages
        .iter()
        .filter_map(|page| Some((codes::info(page.code)?, page)))
        .filter(|(info, page)| word.is_none_or(|word| has_word(info, page, word)))
        .collect();
    if found.is_empty() {
        let word = word.unwrap_or_default();
        return Err(CtlError::Refused(format!("no page has `{word}`; `dmnode ctl explain` lists all")));
    }
    if !output.is_table() {
        let values: Vec<Value> = found.iter().map(|(info, page)| to_json(info, page)).collect();
        output.json(&Value::Array(values), EmptyList::OneLine)?;
        return Ok(Exit::Done);
    }
    let mut rows = table(&["CODE", "NAME", "CLASS", "BY ITSELF", "MEANING"]);
    for (info, page) in found {
        rows.add_row([
            info.code.to_string(),
            info.name.to_owned(),
            info.class.to_owned(),
            policy_word(info.policy).to_owned(),
            page.summary().to_owned(),
        ]);
    }
    output.line(&rows.to_string());
    Ok(Exit::Done)
}

fn has_word(info: &CodeInfo, page: &Page, word: &str) -> bool {
    let word = word.to_lowercase();
    [info.name, info.class, info.workaround, &page.text]
        .iter()
        .any(|text| text.to_lowercase().contains(&word))
}

/// The code that somebody means by `60206`, `code=60206`, a whole error text, `RowNotFound` or DM's `ErrDBBadConn`.
fn find(asked: &str) -> Result<&'static CodeInfo, CtlError> {
    let number = match asked.trim().parse() {
        Ok(number) => Some(number),
        Err(_) => mentioned(asked).first().copied(),
    };
    if let Some(number) = number {
        return codes::info(number).ok_or_else(|| CtlError::Refused(unknown(number)));
    }
    let bare = asked.trim().trim_start_matches("Err");
    codes::ALL.iter().find(|info| info.name.eq_ignore_ascii_case(bare)).ok_or_else(|| {
        CtlError::Refused(format!(
            "`{asked}` is no error code; `dmnode ctl explain` lists them, `dmnode ctl explain --search WORD` finds a word"
        ))
    })
}

fn unknown(code: u32) -> String {
    if (10_000..FIRST_OWN_CODE).contains(&code) {
        return format!(
            "{code} is not raised by dmnode; if it is one of DM's, dmnode has no such condition or reports it under another code"
        );
    }
    if code < 10_000 {
        return format!(
            "{code} looks like an error number of the MySQL or MariaDB server, not a code of dmnode; \
             it stands in the cause of an error, and the code before it is the one to explain"
        );
    }
    format!("{code} is no code of this version of dmnode; `dmnode ctl explain` lists them")
}

/// The whole page as Markdown, with what the table of codes knows.
fn markdown(info: &CodeInfo, page: &Page) -> String {
    let whose = if info.code < FIRST_OWN_CODE { "DM's code" } else { "a code of dmnode" };
    let facts = format!(
        "class `{}`, scope `{}`, level `{}`; {whose}",
        info.class,
        info.scope.as_str(),
        info.level.as_str()
    );
    let mut text = format!("# {} {}\n\n{facts}\n\n{}\n", info.code, info.name, page.meaning);
    for (title, body) in
        [("Where", page.place.as_str()), ("Causes", &page.causes), ("What to do", &page.steps)]
    {
        if !body.is_empty() {
            text.push_str(&format!("\n## {title}\n\n{body}\n"));
        }
    }
    text.push_str(&format!("\n## By itself\n\n{}\n", by_itself(info, page)));
    text
}

fn by_itself<'a>(info: &CodeInfo, page: &'a Page) -> &'a str {
    if !page.by_itself.is_empty() {
        return &page.by_itself;
    }
    match info.policy {
        Policy::Retry => {
            "Yes: what failed is tried again with growing pauses; `dmnode ctl query-status TASK` shows the next try. \
             A pause by an operator is never undone by it."
        }
        Policy::WaitForOperator => {
            "No: a retry cannot heal it. A task that stopped with it stays as it is, loses nothing, and goes on with \
             `dmnode ctl resume-task TASK` after the cause is gone."
        }
        Policy::Fatal => "No: the same input would be refused again. Correct it and repeat the command.",
    }
}

fn policy_word(policy: Policy) -> &'static str {
    match policy {
        Policy::Retry => "retries",
        Policy::WaitForOperator => "waits",
        Policy::Fatal => "refused",
    }
}

fn to_json(info: &CodeInfo, page: &Page) -> Value {
    json!({
        "code": info.code, "name": info.name, "class": info.class, "scope": info.scope.as_str(),
        "level": info.level.as_str(), "isDmCode": info.code < FIRST_OWN_CODE, "policy": policy_word(info.policy),
        "meaning": page.meaning, "where": page.place, "causes": page::items(&page.causes),
        "steps": page::items(&page.steps), "byItself": by_itself(info, page), "workaround": info.workaround,
    })
}

/// The codes that a text names as `code=N:` or `error N:`, each once, those with a page only.
pub fn mentioned(text: &str) -> Vec<u32> {
    let mut found = Vec::new();
    for mark in ["code=", "error ", "Error: "] {
        for (at, _) in text.match_indices(mark) {
            let rest = &text[at + mark.len()..];
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            if let Ok(code) = rest[..digits].parse::<u32>()
                && codes::info(code).is_some()
                && !found.contains(&code)
            {
                found.push(code);
            }
        }
    }
    found
}

/// Where to read more about the errors of a text, for the last line on the terminal.
pub fn pointer(text: &str) -> Option<String> {
    let codes = mentioned(text);
    let shown: Vec<String> = codes.iter().take(POINTERS_MAX).map(u32::to_string).collect();
    (!shown.is_empty()).then(|| format!("what to do, step by step: dmnode ctl explain {}", shown.join(" ")))
}

fn width() -> usize {
    const WIDTH_MAX: usize = 100;
    const WIDTH_MIN: usize = 40;
    table(&[]).width().map_or(WIDTH_MAX, usize::from).clamp(WIDTH_MIN, WIDTH_MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn every_code_has_a_page_and_every_page_a_code() {
        let pages = pages().unwrap();
        let mut by_code: BTreeMap<u32, Vec<&Page>> = BTreeMap::new();
        for page in &pages {
            by_code.entry(page.code).or_default().push(page);
        }
        let missing: Vec<String> = codes::ALL
            .iter()
            .filter(|info| !by_code.contains_key(&info.code))
            .map(|info| format!("{} {}", info.code, info.name))
            .collect();
        assert!(missing.is_empty(), "codes without a page (see CONTRIBUTING.md):\n{}", missing.join("\n"));
        for (code, pages) in by_code {
            assert_eq!(pages.len(), 1, "{code} has one page");
            let name = codes::info(code).map(|info| info.name);
            assert_eq!(name, Some(pages[0].name.as_str()), "page {code} is of a code and has its name");
        }
    }

    /// A number that is raised without standing in the table of codes would have no class, no policy and no page.
    #[test]
    fn every_number_in_the_code_is_in_the_table() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut folders = vec![root.to_owned()];
        let (mut files, mut unknown) = (0, Vec::new());
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy();
                if path.is_dir() && name != "target" && !name.starts_with('.') {
                    folders.push(path);
                } else if name.ends_with(".rs") {
                    files += 1;
                    let text = std::fs::read_to_string(&path).unwrap();
                    unknown
                        .extend(unknown_numbers(&text).map(|number| format!("{}: {number}", path.display())));
                }
            }
        }
        assert!(files > 100, "the sources were found");
        assert!(unknown.is_empty(), "not in raft/model/src/codes.rs:\n{}", unknown.join("\n"));
    }

    fn unknown_numbers(text: &str) -> impl Iterator<Item = u32> {
        let mark = "CodedError::new(";
        text.match_indices(mark).filter_map(move |(at, _)| {
            let rest = text[at + mark.len()..].trim_start();
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            // Tests of the error type itself use small numbers that are no codes.
            digits.parse().ok().filter(|number| *number >= 10_000 && codes::info(*number).is_none())
        })
    }

    #[test]
    fn every_page_says_something() {
        let commands = crate::args::CtlArgs::command();
        let known: Vec<&str> = commands.get_subcommands().map(clap::Command::get_name).collect();
        for page in pages().unwrap() {
            let code = page.code;
            assert!(page.meaning.len() > 20, "{code}: the meaning");
            assert!(!page.place.is_empty(), "{code}: where it comes from");
            assert!(!page::items(&page.causes).is_empty(), "{code}: usual causes");
            assert!(!page::items(&page.steps).is_empty(), "{code}: what to do");
            for (at, mark) in page.text.match_indices("dmnode ctl ") {
                let word: String = page.text[at + mark.len()..]
                    .chars()
                    .take_while(|c| c.is_ascii_lowercase() || *c == '-')
                    .collect();
                let is_option = word.is_empty() || word.starts_with('-');
                assert!(
                    is_option || known.contains(&word.as_str()),
                    "{code}: `dmnode ctl {word}` is a command"
                );
            }
        }
    }

    #[test]
    fn a_code_is_found_by_what_is_at_hand() {
        for asked in [
            "10002",
            "code=10002",
            "[code=10002:class=database:scope=upstream:level=high]",
            "dbbadconn",
            "ErrDBBadConn",
            "t / s: error 10002: lost",
        ] {
            assert_eq!(find(asked).unwrap().code, 10002, "{asked}");
        }
        for (asked, part) in [
            ("1062", "error number of the MySQL"),
            ("36001x", "is no error code"),
            ("11003", "not raised"),
            ("69999", "no code of this version"),
        ] {
            assert!(find(asked).unwrap_err().to_string().contains(part), "{asked}");
        }
    }

    #[test]
    fn errors_end_with_a_pointer() {
        let text = "[code=60206:class=x], Message: y\n t: error 10006: z, [code=60206:";
        assert_eq!(
            pointer(text).as_deref(),
            Some("what to do, step by step: dmnode ctl explain 60206 10006")
        );
        assert_eq!(pointer("error 1062: duplicate"), None);
        assert_eq!(pointer("all well"), None);
    }

    #[test]
    fn the_page_is_shown_with_what_the_code_knows() {
        let pages = pages().unwrap();
        let page = pages.iter().find(|page| page.code == 10002).unwrap();
        let info = codes::info(10002).unwrap();
        let text = markdown(info, page);
        for part in ["# 10002 DBBadConn", "class `database`", "DM's code", "## What to do", "## By itself"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        let value = to_json(info, page);
        assert_eq!(value["code"], 10002);
        assert!(!value["steps"].as_array().unwrap().is_empty());
        assert_eq!(value["policy"], "retries");
    }
}
