//! The form of a page: a heading `# CODE Name`, what it means, then the sections `Where`, `Causes`, `What to do` and,
//! when the code's policy does not say it all, `By itself`. One file may hold several pages.

/// The page of one code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The number.
    pub code: u32,
    /// The symbolic name.
    pub name: String,
    /// What the error means.
    pub meaning: String,
    /// Which object and position it names, and which part of dmnode raises it.
    pub place: String,
    /// Usual causes, a list.
    pub causes: String,
    /// What to do, a numbered list.
    pub steps: String,
    /// Whether it resumes by itself, when there is more to say than the policy.
    pub by_itself: String,
    /// All of it, for searching.
    pub text: String,
}

impl Page {
    /// The first sentence of the meaning.
    pub fn summary(&self) -> &str {
        let end = self
            .meaning
            .find(". ")
            .or_else(|| self.meaning.find(".\n"))
            .map_or(self.meaning.len(), |at| at + 1);
        self.meaning.get(..end).unwrap_or(&self.meaning)
    }
}

/// Reads all pages of a file.
pub fn parse(text: &str) -> Result<Vec<Page>, String> {
    let mut pages: Vec<Page> = Vec::new();
    let mut section = String::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("# ") {
            let (code, name) =
                heading.split_once(' ').ok_or_else(|| format!("`{line}` is no `# CODE Name`"))?;
            pages.push(Page {
                code: code.parse().map_err(|_| format!("`{line}` has no code"))?,
                name: name.trim().to_owned(),
                meaning: String::new(),
                place: String::new(),
                causes: String::new(),
                steps: String::new(),
                by_itself: String::new(),
                text: String::new(),
            });
            section.clear();
            continue;
        }
        let Some(page) = pages.last_mut() else {
            if line.trim().is_empty() {
                continue;
            }
            return Err(format!("`{line}` stands before the first page"));
        };
        page.text.push_str(line);
        page.text.push('\n');
        if let Some(heading) = line.strip_prefix("## ") {
            section = heading.trim().to_owned();
            continue;
        }
        let part = match section.as_str() {
            "" => &mut page.meaning,
            "Where" => &mut page.place,
            "Causes" => &mut page.causes,
            "What to do" => &mut page.steps,
            "By itself" => &mut page.by_itself,
            other => return Err(format!("{}: unknown section `{other}`", page.code)),
        };
        part.push_str(line);
        part.push('\n');
    }
    for page in &mut pages {
        for part in
            [&mut page.meaning, &mut page.place, &mut page.causes, &mut page.steps, &mut page.by_itself]
        {
            *part = part.trim().to_owned();
        }
    }
    Ok(pages)
}

/// The items of a list, each on one line and without its mark.
pub fn items(list: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in list.lines() {
        match mark(line) {
            Some(length) => items.push(line[length..].trim().to_owned()),
            None => {
                if let Some(last) = items.last_mut().filter(|_| !line.trim().is_empty()) {
                    last.push(' ');
                    last.push_str(line.trim());
                }
            }
        }
    }
    items
}

/// Length of the `- ` or `1. ` that a line begins with.
pub fn mark(line: &str) -> Option<usize> {
    if line.starts_with("- ") {
        return Some(2);
    }
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    (digits > 0 && line[digits..].starts_with(". ")).then_some(digits + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_holds_several_pages() {
        let text = "# 1 A\n\nFirst. More\nlines.\n\n## Where\n\nhere\n\n## Causes\n\n- x\n  y\n- z\n\n## What to do\n\n1. do\n\n# 2 B\nM\n";
        let pages = parse(text).unwrap();
        assert_eq!(pages.len(), 2);
        assert_eq!((pages[0].code, pages[0].name.as_str(), pages[0].summary()), (1, "A", "First."));
        assert_eq!(items(&pages[0].causes), ["x y", "z"]);
        assert_eq!(items(&pages[0].steps), ["do"]);
        assert_eq!(pages[1].meaning, "M");
    }

    #[test]
    fn another_form_is_refused() {
        for text in ["text", "# x y\n", "# 1\n", "# 1 A\n## Other\nx\n"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
